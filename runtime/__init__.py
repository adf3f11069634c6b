"""What every YiVideo process stands on: settings, logs, gRPC, errors, drain, metrics."""

from __future__ import annotations

import os

# Read when gRPC is imported. gRPC would otherwise take part in every fork, and log a line for each; our children exec at once.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

VERSION = "0.1.0"
"""What runs; /metrics, the OpenAPI page and the callbacks' User-Agent show it."""
