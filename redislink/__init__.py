"""What every room that speaks to Redis shares: scripts by name, patience through a restart, one pipelined connection."""
