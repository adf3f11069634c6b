"""What a way past the filestore (reading or writing in place, reading from the store, redirecting) remembers of its state."""

from __future__ import annotations

import time
from collections.abc import Callable


class Detour:
    """Whether a way past the filestore is worth a try.

    One that leads nowhere will most likely do so for every file: it is left alone for `closed_seconds`. Then it is tried again:
    a store may get an address, and a filestore may move to this machine.
    """

    def __init__(self, closed_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._closed_seconds = closed_seconds
        self._clock = clock
        self._closed_until = clock()

    @property
    def is_open(self) -> bool:
        """Whether to try it."""
        return self._clock() >= self._closed_until

    def close(self) -> None:
        """It was found to lead nowhere."""
        self._closed_until = self._clock() + self._closed_seconds
