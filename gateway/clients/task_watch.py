"""Follows one task's events, across restarts of the scheduler, so that whoever reads them does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from gateway.clients.backend import Backend
from gateway.clients.reconnect import Pause, Reconnect
from results.states import is_terminal
from runtime.errors import Unavailable
from runtime.rpc_errors import rpc_errors
from yivideo.task.v1 import task_pb2

_SILENCE_SECONDS = 60.0
"""Four of the scheduler's heartbeats: its connection answers for a process whose event loop stands still."""


def is_rewind(event: task_pb2.TaskEvent) -> bool:
    """Whether an event says that the watcher's position never was: of another task, or from before the store was rewound."""
    return event.HasField("gap") and event.gap.last_missing_sequence == 0


class TaskWatch:
    """One position in one task's history: a WatchTask call, made again behind the last event whenever it breaks."""

    def __init__(
        self,
        backend: Backend,
        task_id: str,
        after_sequence: int,
        *,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._task_id = task_id
        self._reconnect = Reconnect(pause)
        self.sequence = after_sequence
        """Sequence up to which everything was handed out, or named in a gap."""

    @property
    def failures(self) -> int:
        """Calls that broke since the last event."""
        return self._reconnect.failures

    async def events(self) -> AsyncGenerator[task_pb2.TaskEvent]:
        """Yield each event once, in order, until the terminal one, or at once the end when nothing follows the position.

        Raises TaskNotFound when the task is deleted meanwhile, Unavailable when the scheduler stays away.
        """
        while True:
            try:
                async with aclosing(self._follow()) as following:
                    async for event in following:
                        self._reconnect.reset()
                        yield event
                        if is_terminal(event):
                            return
                return  # the scheduler knows that the task has ended and that nothing is left to send
            except Unavailable as error:
                await self._reconnect.after(error)

    async def _follow(self) -> AsyncGenerator[task_pb2.TaskEvent]:
        request = task_pb2.WatchTaskRequest(task_id=self._task_id, after_sequence=self.sequence)
        call = self._backend.tasks.WatchTask(request)
        try:
            async with rpc_errors():
                while (event := await _read(call)) is not grpc.aio.EOF:
                    if is_rewind(event):
                        self.sequence = event.gap.snapshot.last_sequence
                    elif event.HasField("gap"):
                        self.sequence = max(self.sequence, event.gap.last_missing_sequence)
                    elif event.sequence and event.sequence <= self.sequence:
                        continue
                    self.sequence = max(self.sequence, event.sequence)
                    yield event
        finally:
            call.cancel()


async def _read(call: Any) -> Any:
    """Return the next message; raises Unavailable when there is none, not even a heartbeat, for too long."""
    try:
        async with asyncio.timeout(_SILENCE_SECONDS):
            return await call.read()
    except TimeoutError:
        raise Unavailable("the scheduler is silent") from None
