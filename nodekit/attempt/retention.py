"""Ended attempts that are kept a while: until their end was read, and a little longer, so that a watcher whose stream broke at the
very end can still learn it. Bounded in time and in number.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

KEPT_AFTER_READ_SECONDS = 60.0
MAX_KEPT = 1000


class Ended(Protocol):
    """What can be kept."""

    @property
    def task_id(self) -> str:
        """The task's id."""


E = TypeVar("E", bound=Ended)


class Retention(Generic[E]):
    """Two queues, each in the order in which its entries fall due: those not read yet, and those that were."""

    def __init__(self, keep_seconds: float, clock: Callable[[], float], max_kept: int = MAX_KEPT) -> None:
        self._clock = clock
        self._max_kept = max_kept
        self._seconds = (keep_seconds, min(keep_seconds, KEPT_AFTER_READ_SECONDS))
        self._unread: OrderedDict[str, tuple[float, E]] = OrderedDict()
        self._read: OrderedDict[str, tuple[float, E]] = OrderedDict()

    def keep(self, ended: E, *, read: bool) -> None:
        """Keep an attempt that has ended, or whose end was just read, in place of an older one of its task."""
        self.drop(ended.task_id)
        queue = self._read if read else self._unread
        queue[ended.task_id] = (self._clock() + self._seconds[read], ended)
        self.prune()

    def drop(self, task_id: str) -> None:
        """Forget an attempt."""
        self._read.pop(task_id, None)
        self._unread.pop(task_id, None)

    def find(self, task_id: str) -> E | None:
        """Return the ended attempt at a task, when it is kept."""
        self.prune()
        entry = self._unread.get(task_id) or self._read.get(task_id)
        return entry[1] if entry else None

    def unread(self) -> Iterable[E]:
        """Return the attempts whose end nobody has read."""
        self.prune()
        return [ended for _, ended in self._unread.values()]

    def prune(self) -> None:
        """Forget what is due; when there are too many, those that were read go first, then the oldest."""
        now = self._clock()
        surplus = len(self._read) + len(self._unread) - self._max_kept
        for queue in (self._read, self._unread):
            while queue:
                task_id = next(iter(queue))
                if surplus <= 0 and queue[task_id][0] > now:
                    break
                del queue[task_id]
                surplus -= 1
