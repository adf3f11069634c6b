"""Malformed requests against the whole real stack: `make fuzz`."""
