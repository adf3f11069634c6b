"""How a session reaches a lock service: over gRPC at one of its replicas, or inside this process (`nodekit.gpu.local`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import grpc

from runtime.channel import open_channel
from runtime.rpc_errors import rpc_errors
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc

Requests = AsyncIterator[lock_pb2.SessionRequest]
Responses = AsyncIterator[lock_pb2.SessionResponse]
OpenStream = Callable[[Requests], AbstractAsyncContextManager[Responses]]
"""Opens one stream; leaving the block ends it."""

Outbox = asyncio.Queue[lock_pb2.SessionRequest | None]
"""What is to be sent over one stream; None: no more."""


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


@contextmanager
def ended(outbox: Outbox) -> Iterator[None]:
    """Tell whoever reads an outbox that its stream is over: gRPC waits for the next request even of a call that has failed."""
    try:
        yield
    finally:
        while not outbox.empty():
            outbox.get_nowait()
        outbox.put_nowait(None)


async def drained(outbox: Outbox) -> AsyncIterator[lock_pb2.SessionRequest]:
    """Yield what is to be sent until nothing more is."""
    while (message := await outbox.get()) is not None:
        yield message
