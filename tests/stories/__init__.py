"""Whole stories through the whole stack, one a file."""
