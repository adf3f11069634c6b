"""The order of waiters: bands of equal priority, in a band users in turn, in a turn who asked first.

A band's standing grows by one level of priority for each `boost_seconds` since it was last served, so that none is passed for ever.
Turns are the start tags of fair queueing: a request joins the round after its user's last one, or the round that is being served.
The lock service keeps the same order (`gpulock/lua/prelude_4_queue.lua`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nodekit.gpu.local.request import Request


@dataclass
class _Band:
    """The waiters of one priority."""

    served_time: float
    round: int = 0
    """The turn that is being served."""
    last_rounds: dict[str, int] = field(default_factory=dict)
    """User → the round of the user's newest request."""
    waiting: list[Request] = field(default_factory=list)


class WaitQueue:
    """Who waits, in the order of service."""

    def __init__(self, boost_seconds: float) -> None:
        self._boost_seconds = boost_seconds
        self._bands: dict[int, _Band] = {}

    def __len__(self) -> int:
        return sum(len(band.waiting) for band in self._bands.values())

    def __iter__(self) -> Iterator[Request]:
        """Yield waiters by priority, as long as no band of lower priority has waited for so long that its turn has come."""
        for priority in sorted(self._bands, reverse=True):
            yield from self._bands[priority].waiting

    def bands(self, now: float) -> list[list[Request]]:
        """Return the waiters of each band, the band to be served first in front."""

        def standing(priority: int) -> tuple[float, int]:
            waited = now - self._bands[priority].served_time
            return priority + waited / self._boost_seconds, priority

        return [list(self._bands[one].waiting) for one in sorted(self._bands, key=standing, reverse=True)]

    def add(self, request: Request, now: float) -> None:
        """Put a request in its place."""
        band = self._bands.setdefault(request.ask.priority, _Band(now))
        user = request.ask.user
        request.round = max(band.round, band.last_rounds.get(user, -1) + 1)
        band.last_rounds[user] = request.round
        band.waiting.append(request)
        band.waiting.sort(key=lambda one: (one.round, one.number))

    def remove(self, request: Request, now: float, *, served: bool) -> None:
        """Take a request out; one that is served moves the turn on, any other gives its user the turn back."""
        band = self._bands[request.ask.priority]
        band.waiting.remove(request)
        user = request.ask.user
        if served:
            band.served_time = now
            band.round = max(band.round, request.round)
        elif band.last_rounds.get(user) == request.round:
            band.last_rounds[user] = request.round - 1
        if not band.waiting:
            del self._bands[request.ask.priority]
        else:  # rounds that are over say nothing any more
            over = [name for name, last in band.last_rounds.items() if last < band.round]
            for name in over:
                del band.last_rounds[name]
