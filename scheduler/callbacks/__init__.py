"""Callbacks: what is due, how each delivery goes, and the restraint of hosts that fail."""
