"""The load: requests at every node, some of them taken back, and what became of each."""

from __future__ import annotations

import asyncio
import random

import grpc

from bench.gpulock_chaos.arena import Arena
from runtime.structs import to_struct
from yivideo.gpulock.v1 import monitor_pb2, monitor_pb2_grpc
from yivideo.task.v1 import task_pb2, task_pb2_grpc

_AT_ONCE = 3
"""Requests of a node at a time: some hold, the others wait."""
_CANCELLED_SHARE = 0.25
_CALL_SECONDS = 3.0
_RUN_SECONDS = 300.0

NODE_DIED = "node died"


class Load:
    """Keeps every node busy."""

    def __init__(self, arena: Arena, seed: int) -> None:
        self._arena = arena
        self._luck = random.Random(seed + 1)
        self._stop = asyncio.Event()
        self.ends: dict[str, str] = {}
        """How each request ended; empty: it has not."""

    async def run(self) -> None:
        """Submit until `stop`, then wait for what is under way."""
        async with asyncio.TaskGroup() as group:
            for number in range(len(self._arena.nodes)):
                for lane in range(_AT_ONCE):
                    group.create_task(self._lane(number, lane))

    def stop(self) -> None:
        """Submit nothing more."""
        self._stop.set()

    async def _lane(self, number: int, lane: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            await self._one(number, f"task-{number}-{lane}-{turn}")

    async def _one(self, number: int, task_id: str) -> None:
        fields = {
            "journals": str(self._arena.journals), "guard": str(self._arena.guard), "task": task_id,
            "seconds": self._luck.uniform(0.05, 0.6),
        }  # fmt: skip
        spec = task_pb2.TaskSpec(
            task_id=task_id, task_name="holder.hold", input=to_struct(fields), user=self._luck.choice(("anna", "ben")),
            priority=self._luck.choice((0, 0, 0, 1)),
        )  # fmt: skip
        deaths = self._arena.nodes[number].deaths
        async with grpc.aio.insecure_channel(self._arena.node_addresses[number]) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            await channel.channel_ready()  # nothing is asked of a node that is not there
            self.ends[task_id] = ""
            doomed = None
            if self._luck.random() < _CANCELLED_SHARE:
                doomed = asyncio.create_task(self._cancel(stub, task_id, self._luck.uniform(0.0, 2.0)))
            try:
                self.ends[task_id] = await _end(stub, spec)
            except grpc.aio.AioRpcError as error:
                died = (
                    self._arena.nodes[number].deaths > deaths or error.code() is grpc.StatusCode.UNAVAILABLE
                )
                self.ends[task_id] = NODE_DIED if died else f"{error.code().name}: {error.details()}"
                await asyncio.sleep(0.2)
            finally:
                if doomed is not None:
                    doomed.cancel()
                    await asyncio.gather(doomed, return_exceptions=True)

    async def _cancel(self, stub: task_pb2_grpc.TaskServiceAsyncStub, task_id: str, after: float) -> None:
        await asyncio.sleep(after)
        await stub.CancelTask(task_pb2.CancelTaskRequest(task_id=task_id), timeout=_CALL_SECONDS)

    async def force_release(self, device: int) -> None:
        """Take a device from its holder, if the service can be reached."""
        request = monitor_pb2.ForceReleaseRequest(device=f"gpu-{device}", reason="chaos")
        await self._ask_anybody("ForceRelease", request)

    async def left(self) -> list[str]:
        """Return what the service still holds or keeps waiting."""
        status = await self._ask_anybody("GetStatus", monitor_pb2.GetStatusRequest())
        if status is None:
            return ["no replica answers"]
        found = [
            f"{monitor_pb2.HolderState.Name(holder.state)} {holder.lease.request_id} token {holder.lease.token}"
            for holder in status.holders
        ]
        found += [f"waiting {waiter.request_id}" for waiter in status.waiters]
        found += [
            f"{device.device} has {device.leased_mib} + {device.quarantined_mib} MiB out"
            for device in status.devices
            if device.leased_mib or device.quarantined_mib
        ]
        return found

    async def _ask_anybody(self, method: str, request: object) -> monitor_pb2.GetStatusResponse | None:
        for address in self._arena.lock_addresses:
            async with grpc.aio.insecure_channel(address) as channel:
                try:
                    stub = monitor_pb2_grpc.LockMonitorStub(channel)
                    answer: monitor_pb2.GetStatusResponse = await getattr(stub, method)(
                        request, timeout=_CALL_SECONDS
                    )
                    return answer
                except grpc.aio.AioRpcError:
                    continue
        return None


async def _end(stub: task_pb2_grpc.TaskServiceAsyncStub, spec: task_pb2.TaskSpec) -> str:
    """Run a task; returns its terminal event, or the code with which it failed."""
    last = "the stream ended early"
    async for event in stub.RunTask(task_pb2.RunTaskRequest(spec=spec), timeout=_RUN_SECONDS):
        kind = event.WhichOneof("event")
        if kind in ("completed", "cancelled"):
            last = kind
        elif kind == "failed":
            last = event.failed.error.code
    return last
