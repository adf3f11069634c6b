"""LockMonitor: what operators see of leases, figures and health, and the stream of lock events."""
