"""What every room that speaks to Redis shares: scripts by name, retries through a restart, one pipelined connection."""
