"""Leaves a path past the filestore (files in place, reads from the store, redirects) alone for a while after it failed."""

from __future__ import annotations

import time
from collections.abc import Callable


class Cooldown:
    """Whether a path was found not to work a moment ago.

    It will most likely fail for every file then, so it is not tried for `seconds`. Afterwards it is: a store may get an address,
    and a filestore may move to this machine.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until = clock()

    @property
    def active(self) -> bool:
        """Whether not to try the path."""
        return self._clock() < self._until

    def start(self) -> None:
        """The path has failed."""
        self._until = self._clock() + self._seconds
