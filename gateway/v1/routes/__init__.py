"""The REST handlers, one file a surface; each parses, calls one RPC and hands the answer to the presenter."""
