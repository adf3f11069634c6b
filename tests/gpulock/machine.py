"""Redis, replicas and holders as processes that a test kills, freezes and starts again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import redis
import yaml

from runtime.program import dying_with_us
from tests.conftest import ROOT
from tests.gpulock.lock_client import channel
from yivideo.gpulock.v1 import monitor_pb2

TTL_SECONDS = 1.2
LOCK_DELAY_SECONDS = 0.4
WINDOW_SECONDS = 2.0


def boot() -> float:
    """The clock that never steps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Proc:
    """One process."""

    def __init__(self, argv: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._log = log.open("ab")
        self.popen = subprocess.Popen(
            [*dying_with_us("KILL"), *argv], stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL,
            cwd=ROOT, env={**os.environ, **(environment or {})},
        )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """End it now."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)
        self._log.close()


@dataclass
class Machine:
    """One installation of the lock service."""

    folder: Path
    free_port: Callable[[], int]
    append_only: bool = False
    procs: dict[str, Proc] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    redis_port: int = 0

    def start_redis(self) -> None:
        """Start Redis on its port, with what it kept."""
        self.redis_port = self.redis_port or self.free_port()
        keep = "yes" if self.append_only else "no"
        argv = [
            "redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", keep, "--appendfsync", "always",
        ]  # fmt: skip
        self.procs["redis"] = Proc(argv, self.folder / "redis.log")
        with self.client() as client:
            give_up = time.monotonic() + 10
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(0.02)

    def client(self) -> redis.Redis:
        """A client of that Redis."""
        return redis.Redis(port=self.redis_port)

    async def start_replica(self, name: str) -> str:
        """Start a replica and wait until it answers."""
        if name not in self.addresses:
            self.addresses[name] = f"127.0.0.1:{self.free_port()}"
        address = self.addresses[name]
        config = self.folder / f"{name}.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "runtime": {"listen": address, "metrics_listen": "", "drain_seconds": 0.5},
                    "gpulock": {
                        "redis_url": f"redis://127.0.0.1:{self.redis_port}/0",
                        "devices": [{"name": "gpu-0", "memory_mib": 24000}],
                        "initial_state": "new",
                        "lock_delay_seconds": LOCK_DELAY_SECONDS,
                        "recovery_window_seconds": WINDOW_SECONDS,
                        "waiter_grace_seconds": 5.0,
                        "replica_ttl_seconds": 1.5,
                        "redis_retry_seconds": 1.0,
                        "clock_slack_seconds": 0.3,
                    },
                    "gpu_lock_monitor": {"heartbeat": {"interval": 0.3, "timeout": TTL_SECONDS}},
                }
            )
        )
        self.procs[name] = Proc(
            [sys.executable, "-m", "gpulock"], self.folder / f"{name}.log", {"YIVIDEO_CONFIG": str(config)}
        )
        async with asyncio.timeout(20), channel(address) as opened:
            while True:
                with suppress(grpc.aio.AioRpcError):
                    await opened.monitor.GetConfiguration(monitor_pb2.GetConfigurationRequest(), timeout=2)
                    return address
                await asyncio.sleep(0.05)

    def start_holder(self, name: str, *replicas: str) -> Proc:
        """Start a process that asks for the device at these replicas, in turn when one is gone."""
        addresses = ",".join(self.addresses[replica] for replica in replicas)
        argv = [
            sys.executable,
            "-m",
            "tests.gpulock.holder_process",
            name,
            name,
            addresses,
            str(self.journal(name)),
        ]
        self.procs[name] = Proc(argv, self.folder / f"{name}.log")
        return self.procs[name]

    def journal(self, name: str) -> Path:
        """Where a holder writes down when it was on the device."""
        return self.folder / f"{name}.journal"

    def lines(self, name: str) -> list[tuple[float, str, int]]:
        """What a holder wrote down."""
        path = self.journal(name)
        if not path.exists():
            return []
        found = [line.split() for line in path.read_text().splitlines()]
        return [(float(at), word, int(token)) for at, word, token in found]

    async def wrote(self, name: str, word: str, seconds: float = 20.0) -> tuple[float, int]:
        """Wait until a holder wrote a word; gives when, and the token."""
        async with asyncio.timeout(seconds):
            while True:
                for at, found, token in self.lines(name):
                    if found == word:
                        return at, token
                await asyncio.sleep(0.01)

    def end(self) -> None:
        """End everything."""
        for proc in self.procs.values():
            with suppress(ProcessLookupError):
                proc.signal(signal.SIGCONT)
            proc.kill()
