"""Separation node: takes voices out of music and noise, and gives what is left."""
