"""The events of one attempt: numbered, bounded, and followed by any number of watchers from any position."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from google.protobuf.timestamp_pb2 import Timestamp

from results.states import TERMINAL_EVENTS
from yivideo.task.v1 import task_pb2

TERMINAL_KINDS = TERMINAL_EVENTS | {"handed_back"}
_DROPPED_FIRST = (frozenset({"progress"}), frozenset({"progress", "log", "waiting_for_gpu"}))


class EventLog:
    """Events in order. When it is full, progress goes first, then log lines, then the oldest; never the terminal event."""

    def __init__(self, task_id: str, attempt: int, max_events: int) -> None:
        self._task_id = task_id
        self._attempt = attempt
        self._max_events = max_events
        self._events: list[task_pb2.TaskEvent] = []
        self._changed = asyncio.Event()
        self._listeners: set[Callable[[], None]] = set()
        self.last_sequence = 0
        self.ended = False
        """Whether the terminal event is here; nothing can be added afterwards."""

    @classmethod
    def restored(cls, task_id: str, attempt: int, events: list[task_pb2.TaskEvent]) -> EventLog:
        """Return the log of an attempt that has ended: its kept events in order, the terminal one last."""
        log = cls(task_id, attempt, max(1, len(events)))
        log._events = events
        log.last_sequence = events[-1].sequence
        log.ended = True
        return log

    def append(self, event: task_pb2.TaskEvent) -> None:
        """Number an event and store it. An event after the terminal one is dropped: the attempt has ended."""
        if self.ended:
            return
        self.last_sequence += 1
        self._stamp(event, self.last_sequence)
        self._events.append(event)
        self.ended = event.WhichOneof("event") in TERMINAL_KINDS
        if len(self._events) > self._max_events:
            self._drop()
        self.wake()

    def _stamp(self, event: task_pb2.TaskEvent, sequence: int) -> None:
        event.task_id = self._task_id
        event.attempt = self._attempt
        event.sequence = sequence
        event.time.FromNanoseconds(time.time_ns())  # GetCurrentTime takes nine times as long

    def _drop(self) -> None:
        """Drop a tenth at once, so that a full log is not searched at every event."""
        surplus = max(1, self._max_events // 10)
        for kinds in _DROPPED_FIRST:
            surplus -= self._drop_of(kinds, surplus)
        if surplus > 0:
            del self._events[:surplus]

    def _drop_of(self, kinds: frozenset[str], surplus: int) -> int:
        places = [i for i, event in enumerate(self._events) if event.WhichOneof("event") in kinds][:surplus]
        for place in reversed(places):
            del self._events[place]
        return len(places)

    def wake(self) -> None:
        """Let every watcher look again."""
        self._changed.set()
        self._changed = asyncio.Event()
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call a function whenever there is reason to look; it must not raise, nor add or drop listeners."""
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no longer."""
        self._listeners.discard(listener)

    @property
    def last_time(self) -> Timestamp | None:
        """When the newest event happened; None before the first."""
        return self._events[-1].time if self._events else None

    def last_progress(self) -> task_pb2.Progress | None:
        """Return the newest progress that is kept."""
        for event in reversed(self._events):
            if event.HasField("progress"):
                return event.progress
        return None

    def after(self, sequence: int) -> list[task_pb2.TaskEvent]:
        """Return the kept events with a greater sequence."""
        first = next((i for i, event in enumerate(self._events) if event.sequence > sequence), None)
        return [] if first is None else self._events[first:]

    def told_after(self, sequence: int, snapshot: Callable[[], task_pb2.Task]) -> list[task_pb2.TaskEvent]:
        """Return what a watcher hears after a sequence: the kept events, and a gap (sequence 0) wherever some are not."""
        events: list[task_pb2.TaskEvent] = []
        for event in self.after(sequence):
            if event.sequence > sequence + 1:
                events.append(self._gap(sequence + 1, event.sequence - 1, snapshot()))
            events.append(event)
            sequence = event.sequence
        return events

    def is_delivered(self, sequence: int) -> bool:
        """Whether nothing will ever follow a sequence."""
        return self.ended and sequence >= self.last_sequence

    async def follow(
        self,
        after_sequence: int,
        *,
        heartbeat_seconds: float,
        snapshot: Callable[[], task_pb2.Task],
        check: Callable[[], None],
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Give the events after a sequence, then new ones, until the terminal event; a heartbeat whenever it was quiet.

        Events that are no longer kept are announced by a gap. `check` is called at every turn and may raise to end the stream.
        """
        position = after_sequence
        while True:
            check()
            changed = self._changed
            for event in self.told_after(position, snapshot):
                position = event.sequence or position
                yield event
            if self.is_delivered(position):
                return
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    await changed.wait()
            except TimeoutError:
                beat = task_pb2.TaskEvent(heartbeat=task_pb2.Heartbeat())
                self._stamp(beat, 0)
                yield beat

    def _gap(self, first: int, last: int, snapshot: task_pb2.Task) -> task_pb2.TaskEvent:
        gap = task_pb2.EventGap(first_missing_sequence=first, last_missing_sequence=last, snapshot=snapshot)
        event = task_pb2.TaskEvent(gap=gap)
        self._stamp(event, 0)
        return event


def now() -> Timestamp:
    """Return the wall-clock time as protobuf has it."""
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
