"""The Redis that every peer gets: as durable as ours, alone, on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.servers import free_port, listens, program, redis_binary

DURABLE = (
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
)


@contextlib.contextmanager
def durable_redis(folder: Path) -> Iterator[tuple[int, int]]:
    """Run a Redis with an append-only file synced every second; gives its port and process id."""
    port = free_port()
    argv = [redis_binary(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), *DURABLE]
    with program(argv, ready=lambda: listens(port), log=folder / "redis.log") as running:
        yield port, running.pid
