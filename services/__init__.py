"""The nodes: one folder per node, none of which knows another."""
