"""Clients of the services behind the gateway, over gRPC: scheduler, filestore, lock service. They serve no HTTP."""
