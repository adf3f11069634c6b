"""Watchers of attempts: of those that run here, and of those whose end an earlier process of this replica has left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from nodekit.attempt.event_log import EventLog
from yivideo.task.v1 import task_pb2


class Watched(Protocol):
    """What can be watched."""

    @property
    def events(self) -> EventLog:
        """Its events."""

    @property
    def heartbeat_seconds(self) -> float:
        """How often a watcher hears of it at least."""

    def count_watchers(self, change: int) -> None:
        """Watchers have come, or gone."""

    def check(self) -> None:
        """Raise StaleFence when a newer attempt takes over."""

    def note_read(self) -> None:
        """A watcher has the terminal event."""

    def to_proto(self) -> task_pb2.Task:
        """Describe the task as GetTask answers it."""


class Watch:
    """One watcher of one attempt; while there is one, the attempt is no orphan."""

    def __init__(self, attempt: Watched) -> None:
        self._attempt = attempt
        self._held = True
        self._listener: Callable[[], None] | None = None
        attempt.count_watchers(1)

    def release(self) -> None:
        """The watcher is gone; calling it again does nothing."""
        if self._held:
            self._held = False
            if self._listener is not None:
                self._attempt.events.forget(self._listener)
            self._attempt.count_watchers(-1)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function whenever there may be something to tell, until the watch is released."""
        self._listener = listener
        self._attempt.events.listen(listener)

    def told_after(self, sequence: int) -> list[task_pb2.TaskEvent]:
        """Return the events after a sequence that are there. Raises StaleFence when a newer attempt takes over."""
        self._attempt.check()
        return self._attempt.events.told_after(sequence, self._attempt.to_proto)

    def is_delivered(self, sequence: int) -> bool:
        """Whether nothing will ever follow a sequence."""
        return self._attempt.events.is_delivered(sequence)

    def note_read(self) -> None:
        """The watcher has the terminal event."""
        self._attempt.note_read()

    async def events(self, after_sequence: int) -> AsyncIterator[task_pb2.TaskEvent]:
        """Give the events after a sequence until the terminal one. Raises StaleFence when a newer attempt takes over."""
        attempt = self._attempt
        async for event in attempt.events.follow(
            after_sequence,
            heartbeat_seconds=attempt.heartbeat_seconds,
            snapshot=attempt.to_proto,
            check=attempt.check,
        ):
            yield event
        self.note_read()
