"""Leases: what may be asked, what follows, what time takes, and the settings in force. Knows no gRPC."""
