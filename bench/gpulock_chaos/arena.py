"""Everything that runs: Redis, replicas of the lock service, nodes, a rogue; each can be frozen, killed and started again."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.servers import QUIET, connects, free_port, redis_answers, redis_binary, start, wait_ready
from nodekit.process.process_tree import kill_members
from stack.redis_config import write_redis_config

TTL_SECONDS = 2.0
BEAT_SECONDS = 0.5
LOCK_DELAY_SECONDS = 0.3
WINDOW_SECONDS = 3.0
DEVICES = 2


class Victim:
    """One process."""

    def __init__(
        self, name: str, argv: list[str], environment: Mapping[str, str], log: Path, ready: Callable[[], bool]
    ) -> None:
        self.name = name
        self._argv = argv
        self._environment = {**QUIET, **environment}
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self.deaths = 0
        """How often it was killed."""

    def start(self) -> None:
        """Start it; `wait` for it before it counts as there."""
        self._process = start(self._argv, self._environment, self._log)

    def wait(self) -> None:
        """Wait until it serves. Raises RuntimeError when it does not."""
        assert self._process is not None
        wait_ready(self._process, self._ready, self._log)

    def freeze(self) -> None:
        """SIGSTOP."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and reap."""
        self.deaths += 1
        self._send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    @property
    def alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class Arena:
    """All victims; nodes are the holders."""

    def __init__(self, folder: Path, seed: int, *, replicas: int = 2, nodes: int = 3) -> None:
        self.folder = folder
        self.journals = folder / "journals"
        self.guard = folder / "guard"
        for made in (self.journals, self.guard):
            made.mkdir()
        self._password = secrets.token_hex(16)
        self._port = free_port()
        self.lock_addresses = [f"127.0.0.1:{free_port()}" for _ in range(replicas)]
        self.node_addresses = [f"127.0.0.1:{free_port()}" for _ in range(nodes)]
        self.redis = self._redis()
        self.replicas = [self._replica(number, address) for number, address in enumerate(self.lock_addresses)]
        self.nodes = [self._node(number, address) for number, address in enumerate(self.node_addresses)]
        self.rogue = self._rogue(seed)
        self._snapshot = folder / "snapshot"

    @property
    def data(self) -> Path:
        """Redis's append-only files."""
        return self.folder / "redis" / "appendonlydir"

    def _redis(self) -> Victim:
        config = write_redis_config(self.folder / "redis", self._port, self._password, sync="everysec")
        url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        return Victim(
            "redis", [redis_binary(), str(config)], {}, self.folder / "redis.log", lambda: redis_answers(url)
        )

    def _replica(self, number: int, address: str) -> Victim:
        devices = [
            {"name": f"gpu-{place}", "visible": f"GPU-{place}", "memory_mib": 8000}
            for place in range(DEVICES)
        ]
        environment = {
            "YIVIDEO_RUNTIME__LISTEN": address,
            "YIVIDEO_GPULOCK__REDIS_URL": f"redis://:{self._password}@127.0.0.1:{self._port}/2",
            "YIVIDEO_GPULOCK__DEVICES": json.dumps(devices),
            "YIVIDEO_GPULOCK__LOCK_DELAY_SECONDS": str(LOCK_DELAY_SECONDS),
            "YIVIDEO_GPULOCK__RECOVERY_WINDOW_SECONDS": str(WINDOW_SECONDS),
            "YIVIDEO_GPULOCK__WAITER_GRACE_SECONDS": "10",
            "YIVIDEO_GPU_LOCK__MAX_WAIT_TIME": "600",
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__INTERVAL": str(BEAT_SECONDS),
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT": str(TTL_SECONDS),
        }
        name = f"replica-{number}"
        return Victim(
            name,
            [sys.executable, "-m", "gpulock"],
            environment,
            self.folder / f"{name}.log",
            lambda: connects(address),
        )

    def _node(self, number: int, address: str) -> Victim:
        name = f"node-{number}"
        scratch = self.folder / name
        scratch.mkdir()
        environment = {
            "YIVIDEO_RUNTIME__LISTEN": address,
            "YIVIDEO_NODE__SLOTS": "4",
            "YIVIDEO_NODE__OUTPUT_ROOT": str(scratch / "outputs"),
            "YIVIDEO_NODE__KILL_GRACE_SECONDS": "0.2",
            "YIVIDEO_NODE__ORPHAN_SECONDS": "60",
            "YIVIDEO_GPU__MODE": "lock",
            "YIVIDEO_GPU__LOCK": json.dumps(self.lock_addresses),
            "YIVIDEO_GPU__GUARD_ROOT": str(self.guard),
            "YIVIDEO_GPU__MARGIN_SECONDS": "0.3",
            "TMPDIR": str(scratch),
        }
        argv = [sys.executable, "-m", "bench.gpulock_chaos.holder"]
        return Victim(name, argv, environment, self.folder / f"{name}.log", lambda: connects(address))

    def _rogue(self, seed: int) -> Victim:
        argv = [
            sys.executable, "-m", "bench.gpulock_chaos.rogue", ",".join(self.lock_addresses), str(self.journals),
            str(self.guard), str(seed),
        ]  # fmt: skip
        return Victim("rogue", argv, {}, self.folder / "rogue.log", lambda: True)

    @property
    def everybody(self) -> list[Victim]:
        """Every process, in the order of their start."""
        return [self.redis, *self.replicas, *self.nodes, self.rogue]

    def start(self) -> None:
        """Start everything, and wait for it."""
        self.redis.start()
        self.redis.wait()
        for victim in self.everybody[1:]:
            victim.start()
        for victim in self.everybody[1:]:
            victim.wait()

    def take_snapshot(self) -> None:
        """Copy Redis's files as they are now."""
        shutil.rmtree(self._snapshot, ignore_errors=True)
        shutil.copytree(self.data, self._snapshot)

    def lose_data(self, *, stale: bool) -> None:
        """Put Redis's files back to the last snapshot, or to nothing. Redis must be dead."""
        shutil.rmtree(self.data)
        if stale and self._snapshot.is_dir():
            shutil.copytree(self._snapshot, self.data)

    def close(self) -> None:
        """Kill everything, and what the rogue has left."""
        for victim in reversed(self.everybody):
            victim.kill()
        kill_members("rogue-")
