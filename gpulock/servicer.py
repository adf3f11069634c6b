# ruff: noqa: N802 - the contract names the methods
"""LockService: hands a stream to the session hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from gpulock.lessor import Lessor
from gpulock.session import SessionHub
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc


class LockServicer(lock_pb2_grpc.LockServiceServicer):
    """The lock service's face to nodes."""

    def __init__(self, lessor: Lessor, hub: SessionHub) -> None:
        self._lessor = lessor
        self._hub = hub

    async def Session(
        self, request_iterator: AsyncIterator[lock_pb2.SessionRequest], context: Any
    ) -> AsyncIterator[lock_pb2.SessionResponse]:
        """Serve one node process."""
        async with aclosing(self._hub.run(self._lessor, request_iterator)) as responses:
            async for response in responses:
                yield response
