"""What a session has yet to send: bounded, in order, positions coalesced."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from gpulock.lease.message import ClientMessage
from runtime.errors import ResourceExhausted, YiVideoError
from yivideo.gpulock.v1 import lock_pb2

Outgoing = lock_pb2.SessionResponse | ClientMessage


class Outbound:
    """One session's queue to its client."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Outgoing] = deque()
        self._positions: dict[str, ClientMessage] = {}
        self._changed = asyncio.Event()
        self._ended = False
        self._fault: YiVideoError | None = None
        self.overrun = asyncio.Event()
        """Set when the client does not read; the queue takes nothing more."""

    @property
    def failed(self) -> bool:
        """Whether the stream ends with an error."""
        return self._fault is not None

    def put(self, message: Outgoing) -> None:
        """Queue a message. Past the limit the session fails with RESOURCE_EXHAUSTED."""
        if self._fault is not None:
            return
        if len(self._messages) >= self._limit:
            self._messages.clear()
            self.fail(ResourceExhausted("the client does not read its messages"))
            self.overrun.set()
            return
        if isinstance(message, ClientMessage):
            self._positions.pop(message.request_id, None)
        self._messages.append(message)
        self._changed.set()

    def put_position(self, message: ClientMessage) -> None:
        """Queue a position; it replaces one of the same request that is still to be sent."""
        self._positions[message.request_id] = message
        self._changed.set()

    def end(self) -> None:
        """End the stream well once everything is sent."""
        self._ended = True
        self._changed.set()

    def fail(self, fault: YiVideoError) -> None:
        """End the stream with an error once everything is sent."""
        if self._fault is None:
            self._fault = fault
        self._changed.set()

    async def messages(self) -> AsyncGenerator[Outgoing, None]:
        """Yield messages until the end; raises the fault."""
        while True:
            while self._messages:
                yield self._messages.popleft()
            while self._positions and not self._messages:
                yield self._positions.pop(next(iter(self._positions)))
            if self._messages:
                continue
            if self._fault is not None:
                raise self._fault
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()
