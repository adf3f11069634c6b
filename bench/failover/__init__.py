"""What a failover of Redis costs, and what it loses."""
