"""Programs that the bench starts and stops, and the Redis that every peer gets: as durable as ours, alone, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_START_SECONDS = 60.0

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


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def program(
    name: str, argv: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the time of a block; its output goes to `<folder>/<name>.log`."""
    with (folder / f"{name}.log").open("ab") as log:
        running = subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def wait_listening(port: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on a port."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if running.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{running.args!r} did not start")
        time.sleep(0.05)


@contextlib.contextmanager
def durable_redis(folder: Path) -> Iterator[tuple[int, int]]:
    """Run a Redis with an append-only file synced every second; gives its port and process id."""
    port = free_port()
    argv = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), *DURABLE]
    with program("redis", argv, folder) as running:
        wait_listening(port, running)
        yield port, running.pid
