"""How a session reaches a lock service: over gRPC at one of its replicas, or inside this process (`nodekit.gpu.local`)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc

from runtime.channel import open_channel
from runtime.rpc_errors import rpc_errors
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc

Requests = AsyncIterator[lock_pb2.SessionRequest]
Responses = AsyncIterator[lock_pb2.SessionResponse]
OpenStream = Callable[[Requests], AbstractAsyncContextManager[Responses]]
"""Opens one stream; leaving the block ends it."""


class LockReplicas:
    """The replicas of a lock service; each stream is opened at the next one, so a dead or frozen one costs one turn."""

    def __init__(self, addresses: Sequence[str], settings: RuntimeSection) -> None:
        self._addresses = tuple(addresses)
        self._settings = settings
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turn = 0

    @asynccontextmanager
    async def open(self, requests: Requests) -> AsyncIterator[Responses]:
        """Open a stream at the next replica. Iterating it raises the error tree."""
        address = self._addresses[self._turn % len(self._addresses)]
        self._turn += 1
        if address not in self._channels:
            self._channels[address] = open_channel(address, self._settings)
        call = lock_pb2_grpc.LockServiceStub(self._channels[address]).Session(requests)
        try:
            yield _translated(call)
        finally:
            call.cancel()

    async def aclose(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


async def _translated(call: AsyncIterable[lock_pb2.SessionResponse]) -> Responses:
    async with rpc_errors():
        async for response in call:
            yield response
