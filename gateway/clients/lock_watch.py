"""Follows lock events, across restarts of the lock service, so that whoever reads them does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.clients.backend import Backend
from gateway.clients.reconnect import Pause, Reconnect
from runtime.errors import RangeRefused, Unavailable
from runtime.rpc_errors import rpc_errors
from yivideo.gpulock.v1 import monitor_pb2 as pb

GAP = "gap"
"""Our own event: some before it are no longer kept."""

_CHECK_SECONDS = 2.0


class LockWatch:
    """One reader's position among the lock events."""

    def __init__(
        self,
        backend: Backend,
        pool: str,
        after_event_id: str,
        *,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._pool = pool
        self._reconnect = Reconnect(pause)
        self.event_id = after_event_id
        """Id of the last event that was handed out; empty: none yet."""

    async def check(self) -> None:
        """Raise what the lock service refuses about the position and the pool, while that can still be told by a status."""
        position = self.event_id
        try:
            async with asyncio.timeout(_CHECK_SECONDS), aclosing(self._follow()) as following:
                await anext(following, None)
        except (RangeRefused, TimeoutError):
            pass  # the stream begins with a gap, or with nothing yet
        finally:
            self.event_id = position

    async def events(self) -> AsyncGenerator[pb.LockEvent]:
        """Yield each event once, in order, without end; a `gap` where some are no longer kept.

        Raises Unavailable when the lock service stays away, and what else it refuses.
        """
        while True:
            broken: Unavailable | None = None
            try:
                async with aclosing(self._follow()) as following:
                    async for event in following:
                        self._reconnect.reset()
                        if event.type:
                            yield event
            except RangeRefused:
                self.event_id = ""
                yield pb.LockEvent(type=GAP)
                continue
            except Unavailable as error:
                broken = error
            await self._reconnect.after(broken)

    async def _follow(self) -> AsyncGenerator[pb.LockEvent]:
        request = pb.WatchLocksRequest(pool=self._pool, after_event_id=self.event_id)
        call = self._backend.locks.WatchLocks(request)
        try:
            async with rpc_errors():
                async for event in call:
                    self.event_id = event.event_id or self.event_id
                    yield event
        finally:
            call.cancel()
