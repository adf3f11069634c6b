"""Work that can be killed: child processes, workers, and the reaper that ends them when the node cannot."""
