"""How long a cancel takes, from the request to the end of the last process: `python -m bench.cancel`."""
