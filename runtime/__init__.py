"""What every YiVideo process stands on: settings, logs, gRPC, errors, drain, metrics."""

from __future__ import annotations

import os
import sys
from typing import Any

from runtime.first_use import on_first_use

# Read when gRPC is imported. gRPC would otherwise take part in every fork, and log a line for each; our children exec at once.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

VERSION = "0.1.0"
"""What runs; /metrics, the OpenAPI page and the callbacks' User-Agent show it."""


def _import_structlog() -> None:
    """Import structlog without rich, which it loads (4 MiB) where the command line's packages have brought it."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    modules: dict[str, Any] = sys.modules
    modules["rich"] = None  # an import of it fails, as where it is not installed
    try:
        import structlog  # noqa: F401
    finally:
        del modules["rich"]


_import_structlog()
# Nodes compute in their workers, and call nobody but for an input that is a URL: in their own process both wait, mostly for ever.
on_first_use("numpy", "aiohttp")
