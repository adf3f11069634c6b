"""Bounds what a process holds open: event streams and waiting requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Unavailable


class StreamSlots:
    """A number of places; whoever finds none is refused, nobody queues."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    @property
    def full(self) -> bool:
        """Whether no place is left."""
        return self.taken >= self._limit

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place for the time of a block; raises Unavailable when none is left."""
        if self.full:
            raise Unavailable("too many event streams are open here", retry_after_seconds=5)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
