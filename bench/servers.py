"""Servers of a bench, each a process of its own that ends with it: Redis, and any of our processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import redis

from runtime.program import dying_with_us
from stack.redis_config import Sync, write_redis_config

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
_END_SECONDS = 20.0


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


QUIET = {"YIVIDEO_RUNTIME__LOG_LEVEL": "warning", "YIVIDEO_RUNTIME__METRICS_LISTEN": ""}
"""Settings of one of our processes that runs for itself, without the stack."""


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without settings of ours, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YIVIDEO_", "MINIO_"))}
    return {**kept, **given}


def start(
    argv: Sequence[str], given: Mapping[str, str], log: Path | None = None, cwd: Path = ROOT
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; it is killed when this process dies.

    What it says goes to `log`; without one, only its errors are shown.
    """
    with (log or Path(os.devnull)).open("ab") as file:
        return subprocess.Popen(
            [*dying_with_us("KILL"), *argv],
            cwd=cwd,
            env=environment(given),
            stdout=file,
            stderr=file if log else None,
            start_new_session=True,
        )


def wait_ready(running: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path | None = None) -> None:
    """Wait until a program serves. Raises RuntimeError when it ends before, or takes more than a minute."""
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if running.poll() is not None or time.monotonic() > deadline:
            said = f":\n{log.read_text()[-2000:]}" if log is not None else ""
            raise RuntimeError(f"{running.args!r} did not start{said}")
        time.sleep(0.02)


def stop(running: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to it and what it has started when it does not end."""
    running.terminate()
    try:
        running.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@contextlib.contextmanager
def program(
    argv: Sequence[str],
    given: Mapping[str, str] | None = None,
    *,
    ready: Callable[[], bool] = lambda: True,
    log: Path | None = None,
    cwd: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the time of the block, which begins when it is ready. Our modules are those of the checkout `cwd`."""
    running = start(argv, given or {}, log, cwd)
    try:
        wait_ready(running, ready, log)
        yield running
    finally:
        stop(running)


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def connects(address: str) -> bool:
    """Whether a gRPC server answers at an address."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1)
        except grpc.FutureTimeoutError:
            return False
        return True


def redis_answers(url: str) -> bool:
    """Whether a Redis serves at a URL."""
    with contextlib.closing(redis.Redis.from_url(url, socket_timeout=1)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def redis_binary() -> str:
    """Return where redis-server is."""
    binary = shutil.which("redis-server")
    assert binary, "redis-server is missing: run `make setup`"
    return binary


@contextlib.contextmanager
def redis_server(folder: Path, sync: Sync = "everysec") -> Iterator[str]:
    """Run a Redis, unless told otherwise as the stack has it for leases: every write in the append-only file, synced each second.

    Gives its URL.
    """
    port, password = free_port(), secrets.token_hex(16)
    config = write_redis_config(folder / "redis", port, password, sync=sync)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with program([redis_binary(), str(config)], ready=lambda: redis_answers(url)):
        yield url


@contextlib.contextmanager
def rpc_server(module: str, given: Mapping[str, str]) -> Iterator[str]:
    """Run one of our processes; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    settings = {**QUIET, "YIVIDEO_RUNTIME__LISTEN": address, **given}
    with program([sys.executable, "-m", module], settings, ready=lambda: connects(address)):
        yield address
