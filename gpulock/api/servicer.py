# ruff: noqa: N802 - the contract names the methods
"""LockService: hands a stream to the session hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from grpc_status import rpc_status

from gpulock.api.hub import SessionHub
from gpulock.lease.lessor import Lessor
from runtime.errors import YiVideoError
from runtime.rpc_errors import to_status
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc


class LockServicer(lock_pb2_grpc.LockServiceServicer):
    """The lock service's face to nodes."""

    def __init__(self, lessor: Lessor, hub: SessionHub) -> None:
        self._lessor = lessor
        self._hub = hub
        self._aborts: set[asyncio.Future[Any]] = set()

    def _said(self, ending: asyncio.Future[Any]) -> None:
        self._aborts.discard(ending)
        if not ending.cancelled():
            ending.exception()  # abort always raises

    async def Session(
        self, request_iterator: AsyncIterator[lock_pb2.SessionRequest], context: Any
    ) -> AsyncIterator[lock_pb2.SessionResponse]:
        """Serve one node process."""
        handler = asyncio.current_task()

        def abort(error: YiVideoError) -> None:
            # The status waits behind messages that the client does not take, and the handler in a write that it does not take.
            status = rpc_status.to_status(to_status(error))
            ending = asyncio.ensure_future(
                context.abort(status.code, status.details, status.trailing_metadata)
            )
            self._aborts.add(ending)
            ending.add_done_callback(self._said)
            if handler is not None:
                asyncio.get_running_loop().call_soon(handler.cancel)

        async with aclosing(self._hub.run(self._lessor, request_iterator, abort)) as responses:
            async for response in responses:
                yield response
