"""Engines behind one shape: a loaded speaker whose `say(sentence)` gives mono samples at its own rate."""
