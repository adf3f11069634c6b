"""Attempts on nodes: links to replicas, runners, their ends, their leases, and what time brings."""
