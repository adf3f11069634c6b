"""The embedded stack: every part of YiVideo on one machine, each its own process, started and stopped together."""
