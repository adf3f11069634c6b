"""The latest events of one task, kept once for all who read them, within bounds; no I/O and no waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.clients.task_watch import is_rewind
from yivideo.task.v1 import task_pb2

_FORMS_KEPT = 2
_ALWAYS_BYTES = 16 * 1024
"""What a ring may keep when the rings of other tasks have used up the budget: else a busy task's readers would all page."""


@dataclass(slots=True)
class RingEvent:
    """One event, and how it was written: readers of one task share the bytes."""

    event: task_pb2.TaskEvent
    size_bytes: int
    """Its serialised size."""
    forms: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, event: task_pb2.TaskEvent) -> RingEvent:
        """Measure an event."""
        return cls(event, event.ByteSize())

    @property
    def first(self) -> int:
        """First sequence that it stands for; 0: it is not stored."""
        return self.event.gap.first_missing_sequence if self.event.HasField("gap") else self.event.sequence

    @property
    def last(self) -> int:
        """Last sequence that it stands for: a gap stands for all that are missing; 0: it is not stored."""
        return self.event.gap.last_missing_sequence if self.event.HasField("gap") else self.event.sequence

    def form(self, key: str, write: Callable[[task_pb2.TaskEvent], bytes]) -> bytes:
        """Return the event as `write` writes it; readers with the same key get the same bytes."""
        made = self.forms.get(key)
        if made is None:
            made = write(self.event)
            if len(self.forms) < _FORMS_KEPT:
                self.forms[key] = made
        return made


@dataclass
class ByteBudget:
    """Bytes that all rings of a process may keep together."""

    limit: int
    used: int = 0


class EventRing:
    """The last events of one task.

    Events are numbered as they come (`begin` ≤ number < `end`), the unstored ones too. A reader that is slower than the ring
    finds its number below `begin` and must get what it missed elsewhere, by its sequence.
    """

    def __init__(self, after: int, *, max_events: int, max_bytes: int, budget: ByteBudget) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._budget = budget
        self._entries: deque[RingEvent] = deque()
        self.size_bytes = 0
        self.begin = 0
        self.floor = after
        """Sequence up to which nothing is kept here."""
        self.head = after
        """Sequence of the last event that came."""
        self.rewinds = 0
        """How often the history turned out to be shorter than what had been handed out."""

    @property
    def end(self) -> int:
        """Number that the next event will have."""
        return self.begin + len(self._entries)

    def append(self, event: task_pb2.TaskEvent) -> None:
        """Keep an event, and let go of the oldest past the bounds, never of this one."""
        if is_rewind(event):
            self._rewind(event.gap.snapshot.last_sequence)
            return
        entry = RingEvent.of(event)
        self._entries.append(entry)
        self._count(entry.size_bytes)
        self.head = max(self.head, entry.last)
        while len(self._entries) > 1 and self._too_much():
            self._drop()

    def _too_much(self) -> bool:
        return (
            len(self._entries) > self._max_events
            or self.size_bytes > self._max_bytes
            or (self._budget.used > self._budget.limit and self.size_bytes > _ALWAYS_BYTES)
        )

    def _drop(self) -> None:
        entry = self._entries.popleft()
        self._count(-entry.size_bytes)
        self.begin += 1
        self.floor = max(self.floor, entry.last)

    def _count(self, change: int) -> None:
        self.size_bytes += change
        self._budget.used += change

    def _rewind(self, sequence: int) -> None:
        self.clear()
        self.begin += 1  # also a reader that had everything must look up its place again
        self.floor = self.head = sequence
        self.rewinds += 1

    def clear(self) -> None:
        """Let go of everything; bytes go back to the budget."""
        while self._entries:
            self._drop()

    def get(self, number: int) -> RingEvent:
        """Return one event; `begin` ≤ number < `end`."""
        return self._entries[number - self.begin]

    def locate(self, sequence: int) -> int | None:
        """Return the number of what comes next for a reader that has everything up to a sequence; None: not kept here."""
        if not self.floor <= sequence <= self.head:
            return None
        number = self.end
        while number > self.begin:
            entry = self.get(number - 1)
            if entry.last and entry.last <= sequence:
                break
            if entry.last and entry.first <= sequence:
                return None  # in the middle of a gap: its own part of it is for the scheduler to say
            number -= 1
        return number
