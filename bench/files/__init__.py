"""Measures `/v1/files`: `python -m bench.files`, or `make bench-files`."""
