"""Per-host restraint: how many deliveries at a time, a pause for a host that keeps failing, and a queue that stands apart.

What cannot be sent now is told when to come back. Those times are spaced by how long the host takes for a delivery, so that
thousands which wait for one slow or dead host are not looked at again and again, and never stand before another host's.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_HOSTS_KEPT = 1024
_FIRST_GUESS_SECONDS = 0.1
_WEIGHT = 0.2
"""Of the newest duration in the running mean."""
_OVERBOOKING = 2
"""How many are asked to come for each place that gets free: who comes in vain costs little, an empty place is lost."""
_SHORTEST_WAIT_SECONDS = 0.1
_LONGEST_QUEUE_SECONDS = 60.0
"""The queue's own part of a wait; one that stands further back asks again, and is told anew."""


@dataclass
class _Host:
    busy: int = 0
    failures: int = 0
    open_until: float = 0.0
    mean_seconds: float = _FIRST_GUESS_SECONDS
    next_turn: float = 0.0
    """When the next delivery that must wait may come back."""


class HostCircuits:
    """What this process knows of the hosts it delivers to; the least recently used are forgotten.

    A process that starts knows nothing: it allows each dead host `failures` attempts, then leaves it alone like the last one did.
    """

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
        self._forget_some()
        # After a pause one delivery tries the host; the others wait for what becomes of it.
        limit = 1 if known.failures >= self._failures else self._concurrency
        now = self._clock()
        if known.open_until <= now and known.busy < limit:
            known.busy += 1
            return 0.0
        opens = max(now, known.open_until)
        turn = max(opens, known.next_turn)
        pace = known.mean_seconds / limit / _OVERBOOKING
        known.next_turn = min(turn + pace, opens + _LONGEST_QUEUE_SECONDS)
        spread = random.uniform(1.0, 1.1)  # noqa: S311 - so that those at the end of the queue do not come as one
        return max(_SHORTEST_WAIT_SECONDS, opens - now + (turn - opens) * spread)

    def end(self, host: str, *, well: bool | None, seconds: float) -> None:
        """Give the place back and learn from how it went (None: that says nothing about the host), and how long it took."""
        known = self._hosts.setdefault(host, _Host())
        known.busy = max(0, known.busy - 1)
        if well is None:
            return
        known.mean_seconds += _WEIGHT * (seconds - known.mean_seconds)
        if well:
            if known.failures >= self._failures:
                known.next_turn = 0.0
            known.failures, known.open_until = 0, 0.0
            return
        known.failures += 1
        if known.failures >= self._failures:
            known.open_until = self._clock() + self._pause_seconds

    def _forget_some(self) -> None:
        idle = (host for host, known in self._hosts.items() if not known.busy)
        for host in [host for host, _ in zip(idle, range(len(self._hosts) - _HOSTS_KEPT), strict=False)]:
            del self._hosts[host]
