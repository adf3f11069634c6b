"""The lock store: keys, records, scripts by name and the streams that replicas follow."""
