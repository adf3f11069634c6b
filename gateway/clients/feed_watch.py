"""Follows the events of many tasks, across restarts of the scheduler, so that whoever reads them does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from gateway.clients.backend import Backend
from gateway.clients.reconnect import Pause, Reconnect
from runtime.errors import Unavailable
from runtime.rpc_errors import rpc_errors
from yivideo.task.v1 import task_pb2

_SILENCE_SECONDS = 60.0
"""Four of the scheduler's heartbeats: its connection answers for a process whose event loop stands still."""
_CHECK_SECONDS = 5.0


class FeedWatch:
    """One reader's position in the feed: a WatchEvents call, made again behind the last message whenever it breaks."""

    def __init__(
        self, backend: Backend, request: task_pb2.WatchEventsRequest, *, pause: Pause = asyncio.sleep
    ) -> None:
        self._backend = backend
        self._request = request
        self._reconnect = Reconnect(pause)

    @property
    def cursor(self) -> str:
        """Where the stream goes on; empty: nowhere yet."""
        return self._request.after_cursor

    async def check(self) -> None:
        """Raise what the scheduler refuses about the conditions, while that can still be told by a status."""
        async with asyncio.timeout(_CHECK_SECONDS), aclosing(self._follow()) as following:
            await anext(following, None)

    async def events(self) -> AsyncGenerator[task_pb2.WatchEventsResponse]:
        """Yield each message once, in order, without end. Raises Unavailable when the scheduler stays away."""
        while True:
            broken: Unavailable | None = None
            try:
                async with aclosing(self._follow()) as following:
                    async for told in following:
                        self._reconnect.reset()
                        self._request.after_cursor = told.cursor
                        yield told
            except Unavailable as error:
                broken = error
            await self._reconnect.after(broken)

    async def _follow(self) -> AsyncGenerator[task_pb2.WatchEventsResponse]:
        call = self._backend.tasks.WatchEvents(self._request)
        try:
            async with rpc_errors():
                while (told := await _heard(call)) is not grpc.aio.EOF:
                    yield told
        finally:
            call.cancel()


async def _heard(call: Any) -> Any:
    """Return the next message; raises Unavailable when there is none for too long."""
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            return await call.read()
    except TimeoutError:
        raise Unavailable("the scheduler is silent") from None
