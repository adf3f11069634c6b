"""The demo: real tasks through a real stack, from a film that it makes to a signed callback that it verifies."""
