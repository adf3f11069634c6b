"""Workflows that are ready made: each a file of data, and what makes tasks of it and a client's parameters."""
