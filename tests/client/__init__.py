"""The client library and the command line, against servers that break, lie and are slow."""
