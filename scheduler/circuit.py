"""Per-host restraint: how many deliveries at a time, and a pause for a host that keeps failing."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_HOSTS_KEPT = 1024


@dataclass
class _Host:
    busy: int = 0
    failures: int = 0
    open_until: float = 0.0


class HostCircuits:
    """What this process knows of the hosts it delivers to; the least recently used are forgotten."""

    def __init__(
        self,
        *,
        concurrency: int,
        failures: int,
        pause_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._concurrency = concurrency
        self._failures = failures
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._hosts: OrderedDict[str, _Host] = OrderedDict()

    def begin(self, host: str) -> float:
        """Take a place at a host; gives 0, or the seconds to wait before asking again (no place was taken then)."""
        known = self._hosts.setdefault(host, _Host())
        self._hosts.move_to_end(host)
        while len(self._hosts) > _HOSTS_KEPT:
            oldest, entry = next(iter(self._hosts.items()))
            if entry.busy:
                break
            del self._hosts[oldest]
        wait = known.open_until - self._clock()
        if wait > 0:
            return wait
        # After a pause one delivery tries the host; the others wait for what becomes of it.
        limit = 1 if known.failures >= self._failures else self._concurrency
        if known.busy >= limit:
            return 0.5
        known.busy += 1
        return 0.0

    def end(self, host: str, *, well: bool) -> None:
        """Give the place back and learn from how it went."""
        known = self._hosts.setdefault(host, _Host())
        known.busy = max(0, known.busy - 1)
        known.failures = 0 if well else known.failures + 1
        if known.failures >= self._failures:
            known.open_until = self._clock() + self._pause_seconds
