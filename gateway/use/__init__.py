"""Use cases of the gateway without HTTP: whatever a facade's routes do, they do by these."""
