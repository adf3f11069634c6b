"""The lock service: GPU leases over Redis for every node."""
