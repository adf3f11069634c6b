"""Cuts event streams at random and counts what is missing, and shows what a watcher costs: `python -m bench.streams`."""
