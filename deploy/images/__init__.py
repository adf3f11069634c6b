"""The images: how they are built, and what is in them."""
