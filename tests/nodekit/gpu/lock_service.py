"""The real lock service as processes on a real Redis, and nodes as processes that use it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
from pydantic import SecretStr

from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from runtime.structs import to_struct
from yivideo.gpulock.v1 import monitor_pb2, monitor_pb2_grpc
from yivideo.task.v1 import task_pb2, task_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent.parent.parent

TTL_SECONDS = 4.0
LOCK_DELAY_SECONDS = 0.2


class Process:
    """One of our programs, known by its log."""

    def __init__(self, module: str, log: Path, environment: dict[str, str]) -> None:
        self._log = log
        with log.open("w") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**os.environ, "YIVIDEO_RUNTIME__METRICS_LISTEN": "", **environment},
                stderr=stderr,
            )
        self.address = ""

    async def started(self) -> Self:
        """Wait for its address."""
        async with asyncio.timeout(30):
            while not (found := self.logged("listening")):
                assert self.popen.poll() is None, self._log.read_text()[-3000:]
                await asyncio.sleep(0.02)
        self.address = str(found[0]["address"])
        return self

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if line.get("event") == event]

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        self.popen.send_signal(number)

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)


class LockService:
    """Some replicas of the lock service over one store."""

    def __init__(self, folder: Path, redis_url: str, **settings: str) -> None:
        self._folder = folder
        self._settings = {
            "YIVIDEO_GPULOCK__REDIS_URL": redis_url,
            "YIVIDEO_GPULOCK__KEY_PREFIX": f"{{test-{uuid.uuid4().hex}}}:",
            "YIVIDEO_GPULOCK__INITIAL_STATE": "new",
            "YIVIDEO_GPULOCK__LOCK_DELAY_SECONDS": str(LOCK_DELAY_SECONDS),
            "YIVIDEO_GPULOCK__WAITER_GRACE_SECONDS": "3",
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__INTERVAL": str(TTL_SECONDS / 4),
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT": str(TTL_SECONDS),
            "YIVIDEO_GPULOCK__DEVICES": json.dumps(
                [{"name": "gpu-0", "memory_mib": 8000, "visible": "GPU-0"}]
            ),
            **settings,
        }
        self.replicas: list[Process] = []
        self._channel: grpc.aio.Channel | None = None

    async def start(self, replicas: int = 1) -> Self:
        """Start so many replicas more."""
        first = len(self.replicas)
        self.replicas += [
            Process("gpulock", self._folder / f"gpulock-{first + number}.log", self._settings)
            for number in range(replicas)
        ]
        await asyncio.gather(*(replica.started() for replica in self.replicas[first:]))
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the replicas listen."""
        return tuple(replica.address for replica in self.replicas)

    @property
    def monitor(self) -> monitor_pb2_grpc.LockMonitorAsyncStub:
        """The monitor of the last replica."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.replicas[-1].address)
        return monitor_pb2_grpc.LockMonitorStub(self._channel)

    async def status(self) -> monitor_pb2.GetStatusResponse:
        """Look at devices, holders and waiters."""
        return await self.monitor.GetStatus(monitor_pb2.GetStatusRequest(), timeout=5)

    async def statistics(self) -> monitor_pb2.Statistics:
        """Look at the figures."""
        return await self.monitor.GetStatistics(monitor_pb2.GetStatisticsRequest(), timeout=5)

    async def aclose(self) -> None:
        """End it all."""
        if self._channel is not None:
            await self._channel.close()
        for replica in self.replicas:
            replica.close()


class GpuNode:
    """`python -m tests.nodekit.gpu.toy`, and a client of it."""

    def __init__(self, folder: Path, lock: tuple[str, ...], **environment: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        own = {
            "YIVIDEO_NODE__OUTPUT_ROOT": str(folder / "outputs"),
            "YIVIDEO_NODE__KILL_GRACE_SECONDS": "0.3",
            "YIVIDEO_NODE__ORPHAN_SECONDS": "60",
            "YIVIDEO_NODE__FROZEN_SECONDS": "60",  # what the lease's own deadline does is to be seen
            "YIVIDEO_RUNTIME__DRAIN_SECONDS": "0.3",
            "YIVIDEO_GPU__MODE": "lock",
            "YIVIDEO_GPU__LOCK": json.dumps(lock),
            "YIVIDEO_GPU__GUARD_ROOT": str(folder.parent / "guard"),
            "TMPDIR": str(folder),
            **environment,
        }
        self.process = Process("tests.nodekit.gpu.toy", folder / "log", own)
        self._token = own.get("YIVIDEO_RUNTIME__TOKEN", "")
        self._channel: grpc.aio.Channel | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Bound its life."""
        try:
            await self.process.started()
            token = SecretStr(self._token) if self._token else None
            self._channel = open_channel(self.process.address, RuntimeSection(token=token))
            yield self
        finally:
            if self._channel is not None:
                await self._channel.close()
            self.process.close()

    def begin(self, name: str, task_id: str, **fields: object) -> asyncio.Task[list[task_pb2.TaskEvent]]:
        """Begin a task; gives its events when it ends."""
        stub = task_pb2_grpc.TaskServiceStub(self._channel)  # type: ignore[arg-type]
        task_input = to_struct({"folder": str(self.folder), **fields})
        spec = task_pb2.TaskSpec(task_id=task_id, task_name=f"gputoy.{name}", input=task_input)

        async def run() -> list[task_pb2.TaskEvent]:
            events: list[task_pb2.TaskEvent] = []
            async for event in stub.RunTask(task_pb2.RunTaskRequest(spec=spec), timeout=60):
                events.append(event)
            return events

        return asyncio.create_task(run())
