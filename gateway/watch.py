"""Follows one task's events, across restarts of the scheduler, so that whoever reads them does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from gateway.backend import Backend
from runtime.errors import Unavailable
from runtime.rpc_errors import rpc_errors
from yivideo.task.v1 import task_pb2

TERMINAL_EVENTS = frozenset({"completed", "failed", "cancelled"})

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_TRIES_IN_A_ROW = 20
"""About half a minute; then the reader is told, and comes back by itself with its last event id."""


class TaskWatch:
    """One reader's position in one task's history. Each watch is a WatchTask call of its own for now."""

    def __init__(
        self,
        backend: Backend,
        task_id: str,
        after_sequence: int,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._task_id = task_id
        self._pause = pause
        self.sequence = after_sequence
        """Sequence of the last stored event that was handed out."""

    async def events(self) -> AsyncGenerator[task_pb2.TaskEvent]:
        """Yield each event once, in order, until the terminal one.

        Raises TaskNotFound when the task is deleted meanwhile, Unavailable when the scheduler stays away.
        """
        failures = 0
        while True:
            try:
                async with aclosing(self._follow()) as following:
                    async for event in following:
                        failures = 0
                        yield event
                        if event.WhichOneof("event") in TERMINAL_EVENTS:
                            return
            except Unavailable:
                if failures >= _TRIES_IN_A_ROW:
                    raise
            await self._pause(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**failures))
            failures += 1

    async def _follow(self) -> AsyncGenerator[task_pb2.TaskEvent]:
        request = task_pb2.WatchTaskRequest(task_id=self._task_id, after_sequence=self.sequence)
        call = self._backend.tasks.WatchTask(request)
        try:
            async with rpc_errors():
                async for event in call:
                    if event.sequence and event.sequence <= self.sequence:
                        continue
                    self.sequence = max(self.sequence, event.sequence)
                    yield event
        finally:
            call.cancel()
