"""The floor: LockService with one lock in memory, first come, first served, and nothing else: `-m bench.gpulock.floor_server`.

It goes through the same gRPC server, event loop and messages as the lock service. What it leaves out is what a lock service
adds: the store, priorities, memory, leases, tokens that survive. Nothing built this way can hand over faster.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from runtime.process import Shutdown, run_process
from runtime.server import RpcServer
from runtime.settings import ProcessSettings, load_settings
from yivideo.gpulock.v1 import lock_pb2 as pb
from yivideo.gpulock.v1.lock_pb2_grpc import LockServiceServicer, add_LockServiceServicer_to_server

Outbox = asyncio.Queue[pb.SessionResponse]


class FloorServicer(LockServiceServicer):
    """One device; a queue of who waits for it."""

    def __init__(self) -> None:
        self._token = 0
        self._held = ""
        self._waiting: deque[tuple[str, Outbox]] = deque()

    async def Session(
        self, request_iterator: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionResponse]:
        """Serve one client."""
        outbox: Outbox = asyncio.Queue(1000)
        reading = asyncio.ensure_future(self._read(request_iterator, outbox))
        try:
            while True:
                yield await outbox.get()
        finally:
            reading.cancel()

    async def _read(self, requests: AsyncIterator[pb.SessionRequest], outbox: Outbox) -> None:
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "hello":
                welcome = pb.Welcome(replica="floor", beat_seconds=5, ttl_seconds=15)
                outbox.put_nowait(pb.SessionResponse(welcome=welcome))
            elif kind == "acquire":
                self._acquire(request.acquire.request_id, outbox)
            elif kind == "release":
                outbox.put_nowait(
                    pb.SessionResponse(released=pb.Released(request_id=request.release.request_id))
                )
                self._release(request.release)

    def _acquire(self, request_id: str, outbox: Outbox) -> None:
        if self._held:
            self._waiting.append((request_id, outbox))
            queued = pb.Queued(request_id=request_id, position=len(self._waiting))
            outbox.put_nowait(pb.SessionResponse(queued=queued))
        else:
            self._grant(request_id, outbox)

    def _grant(self, request_id: str, outbox: Outbox) -> None:
        self._token += 1
        self._held = request_id
        lease = pb.Lease(request_id=request_id, token=self._token, ttl_seconds=15)
        outbox.put_nowait(pb.SessionResponse(granted=lease))

    def _release(self, release: pb.Release) -> None:
        if release.request_id != self._held:
            return
        self._held = ""
        if self._waiting:
            self._grant(*self._waiting.popleft())


async def main(settings: ProcessSettings, shutdown: Shutdown) -> None:
    """Serve until told to stop."""
    server = RpcServer(settings.runtime)
    server.add(add_LockServiceServicer_to_server, FloorServicer(), "yivideo.gpulock.v1.LockService")
    async with server.running():
        await shutdown.wait()


if __name__ == "__main__":
    loaded = load_settings(ProcessSettings)
    run_process("floor", loaded.runtime, lambda shutdown: main(loaded, shutdown))
