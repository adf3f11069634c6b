"""The monitoring routes, by what they are about."""
