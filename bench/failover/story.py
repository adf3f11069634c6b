"""Clients submit to two schedulers while the primary fails; then every task that was acknowledged is looked for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc

from bench.redis_group import RedisGroup
from bench.servers import rpc_server
from results.states import TERMINAL_STATES
from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2, task_pb2_grpc

CLIENTS = 32
_PAUSE_SECONDS = 0.1
"""Between two submits of one client: the schedulers are to be busy, not full, so that what a failover takes can be seen."""
_CALM_SECONDS = 2.0
_AFTER_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0
_EVERY_RUNS = 16
"""One task of so many runs at once; the others wait for a time that does not come: only whether they are there is asked."""
_LATER_SECONDS = 3600
_TRY_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass
class Told:
    """What one story came to."""

    acknowledged: int = 0
    refused: int = 0
    """Calls that were answered UNAVAILABLE, each repeated with the same id."""
    lost: list[str] = field(default_factory=list)
    """Acknowledged tasks that are not there."""
    not_completed: int = 0
    """Of those that run at once."""
    failover_seconds: float = 0.0
    """Longest time after the fault in which no submit was acknowledged."""
    calm_ms: list[float] = field(default_factory=list)
    """Latency of submits before the fault."""


class Clients:
    """All clients of one story."""

    def __init__(self, stub: Any, told: Told, journal: str) -> None:
        self._stub = stub
        self._journal = journal
        self._told = told
        self._ids: dict[str, bool] = {}
        """Acknowledged task → whether it runs at once."""
        self._times: list[tuple[float, float]] = []
        self._number = 0
        self.stopping = False

    async def run(self) -> None:
        """Submit until told to stop."""
        await asyncio.gather(*(self._submit_for_ever() for _ in range(CLIENTS)))

    async def _submit_for_ever(self) -> None:
        while not self.stopping:
            self._number += 1
            await self.submit(self._number)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def submit(self, number: int) -> None:
        """Submit one task, as often as it takes. Raises TimeoutError."""
        runs = number % _EVERY_RUNS == 0
        spec = task_pb2.TaskSpec(
            task_id=f"failover-{number}",
            task_name="forge.hammer",
            user="bench",
            input=to_struct({"journal": self._journal, "seconds": 0}),
            delay_seconds=0 if runs else _LATER_SECONDS,
        )
        began = time.monotonic()
        while time.monotonic() - began < _PATIENCE_SECONDS:
            asked = time.monotonic()
            try:
                await self._stub.SubmitTask(task_pb2.SubmitTaskRequest(spec=spec), timeout=15)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _TRY_AGAIN:
                    raise
                self._told.refused += 1
                await asyncio.sleep(0.1)
                continue
            self._times.append((asked, time.monotonic()))
            self._ids[spec.task_id] = runs
            return
        raise TimeoutError(f"{spec.task_id} was refused for {_PATIENCE_SECONDS} s")

    async def judge(self, fault: float) -> None:
        """Look for every acknowledged task, and measure."""
        told = self._told
        told.acknowledged = len(self._ids)
        answers = sorted(answered for _, answered in self._times if answered > fault)
        told.failover_seconds = max(later - early for early, later in pairwise([fault, *answers]))
        told.calm_ms = [1000 * (end - begin) for begin, end in self._times if end < fault]
        gate = asyncio.Semaphore(CLIENTS)

        async def look(task_id: str, runs: bool) -> None:
            async with gate:
                if not await self._is_there(task_id, runs):
                    told.lost.append(task_id)

        await asyncio.gather(*(look(*one) for one in self._ids.items()))

    async def _is_there(self, task_id: str, runs: bool) -> bool:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                task = await self._stub.GetTask(task_pb2.GetTaskRequest(task_id=task_id), timeout=15)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return False
                raise
            state = task_pb2.TaskState.Name(task.state).removeprefix("TASK_STATE_").lower()
            if not runs or state == "completed":
                return True
            if state in TERMINAL_STATES or time.monotonic() > give_up:
                self._told.not_completed += 1
                return True
            await asyncio.sleep(0.2)


@contextlib.contextmanager
def installation(group: RedisGroup, folder: Path, min_replicas: int) -> Iterator[str]:
    """Run a node and two schedulers on a group of Redis servers; gives the schedulers as a gRPC target."""
    work = {"YIVIDEO_NODE__WORK_ROOT": str(folder / "work"), "CHAOS_NODE": "forge"}
    with rpc_server("bench.chaos.smithy", work) as node:
        environment = {
            "YIVIDEO_RUNTIME__LOG_LEVEL": "error",  # of what is away on purpose
            "YIVIDEO_SCHEDULER__REDIS_URL": group.url(),
            "YIVIDEO_SCHEDULER__MIN_REPLICAS": str(min_replicas),
            "YIVIDEO_SCHEDULER__NODES": json.dumps([{"node": "forge", "addresses": [node]}]),
        }
        with rpc_server("scheduler", environment) as one, rpc_server("scheduler", environment) as other:
            yield f"ipv4:{one},{other}"


async def tell(folder: Path, min_replicas: int, fault: Callable[[RedisGroup], float]) -> Told:
    """Tell one story on an installation of its own."""
    told, group = Told(), RedisGroup(folder / "redis")
    with group.running(), installation(group, folder, min_replicas) as target:
        async with open_channel(target, RuntimeSection()) as channel:
            clients = Clients(task_pb2_grpc.TaskServiceStub(channel), told, str(folder / "journal"))
            await _wait_for_types(clients)
            running = asyncio.create_task(clients.run())
            await asyncio.sleep(_CALM_SECONDS)
            began = await asyncio.to_thread(fault, group)
            await asyncio.to_thread(group.wait_for_replica)
            await asyncio.sleep(_AFTER_SECONDS)
            clients.stopping = True
            await running
            await clients.judge(began)
    return told


async def _wait_for_types(clients: Clients) -> None:
    """Wait until the node's task types are known: until then a submit is refused."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            await clients.submit(0)
            return
        except grpc.aio.AioRpcError:
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(0.1)
