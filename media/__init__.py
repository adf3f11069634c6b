"""Media files as every node opens them: locked to one file, their streams and clocks known, their sound on the film's clock.

Nodes that hear or look share this room, so that a kind of file is right for all of them or for none. It knows no task, no gRPC
and no store; processes are started through the `Runner` that it is given.
"""
