"""Log lines that would come by the hundred: while something is away that a whole room rests on, every call runs into the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from structlog.stdlib import BoundLogger

_PERIOD_SECONDS = 10.0


class Seldom:
    """Says each thing at once, and then once in a while for as long as it goes on, with how often it was not said."""

    def __init__(
        self,
        log: BoundLogger,
        period_seconds: float = _PERIOD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._period_seconds = period_seconds
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}
        """When each thing was said last, and how often it was kept back since. As many as the code has texts."""

    def warning(self, event: str, **fields: Any) -> None:
        """Log a warning, unless the same was logged within the period. `event` is a constant; what differs is a field."""
        now = self._clock()
        last, kept_back = self._said.get(event, (float("-inf"), 0))
        if now - last < self._period_seconds:
            self._said[event] = (last, kept_back + 1)
            return
        self._said[event] = (now, 0)
        if kept_back:
            fields["not_said"] = kept_back
        self._log.warning(event, **fields)
