"""The servers of the bench, each a process of its own: Redis, the floor, replicas of the lock service."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import redis

from runtime.program import dying_with_us
from stack.redis_config import Sync, write_redis_config

ROOT = Path(__file__).resolve().parent.parent.parent
_START_SECONDS = 20.0


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _process(argv: list[str], environment: Mapping[str, str], ready: Callable[[], bool]) -> Iterator[None]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("YIVIDEO_")}
    with subprocess.Popen(
        [*dying_with_us("KILL"), *argv], cwd=ROOT, env={**given, **environment}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{argv[-1]} did not start")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()


TTL_SECONDS = 20.0
BEAT_SECONDS = 5.0
LOCK_DELAY_SECONDS = 0.5

ONE = {"default": 1}
MANY = {"ten": 10, "pairs": 32}
"""Devices by pool, of two installations on one Redis."""


def lock_service(redis_url: str, pools: Mapping[str, int]) -> contextlib.AbstractContextManager[str]:
    """Run a replica of the lock service as the embedded stack does; replicas with the same pools share their leases."""
    devices = [
        {"name": f"{pool}-{number}", "pool": pool, "memory_mib": 8192}
        for pool, count in pools.items()
        for number in range(count)
    ]
    return rpc_server(
        "gpulock",
        {
            "YIVIDEO_GPULOCK__REDIS_URL": redis_url,
            "YIVIDEO_GPULOCK__DEVICES": json.dumps(devices),
            "YIVIDEO_GPULOCK__KEY_PREFIX": f"{{bench-{'-'.join(pools)}}}:",
            "YIVIDEO_GPULOCK__INITIAL_STATE": "new",
            "YIVIDEO_GPULOCK__LOCK_DELAY_SECONDS": str(LOCK_DELAY_SECONDS),
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__INTERVAL": str(BEAT_SECONDS),
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT": str(TTL_SECONDS),
        },
    )


@contextlib.contextmanager
def redis_server(folder: Path, sync: Sync = "everysec") -> Iterator[str]:
    """Run a Redis, unless told otherwise as the stack has it for leases: every write in the append-only file, synced each second.

    Gives its URL.
    """
    port, password = free_port(), secrets.token_hex(16)
    config = write_redis_config(folder / "redis", port, password, sync=sync)
    binary = shutil.which("redis-server")
    assert binary, "redis-server is missing: run `make setup`"
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with _process([binary, str(config)], {}, lambda: _answers(url)):
        yield url


def _answers(url: str) -> bool:
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _connects(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1)
        except grpc.FutureTimeoutError:
            return False
        return True


@contextlib.contextmanager
def rpc_server(module: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Run one of our processes; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    given = {
        "YIVIDEO_RUNTIME__LISTEN": address,
        "YIVIDEO_RUNTIME__METRICS_LISTEN": "",
        "YIVIDEO_RUNTIME__LOG_LEVEL": "warning",
        **environment,
    }
    with _process([sys.executable, "-m", module], given, lambda: _connects(address)):
        yield address
