"""How often a key may be used: limits such as `100/minute; 5/second`, counted in this process.

A limit of N in T lets N requests through at once and then one every T/N (the generic cell rate algorithm): one instant is all that
is kept of a key, and it tells to the second when the next request is welcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from limits import RateLimitItem, parse_many

from runtime.errors import ResourceExhausted


def parsed(text: str) -> tuple[RateLimitItem, ...]:
    """Read limits in the notation of the library `limits`; raises ValueError. Empty: none."""
    return tuple(parse_many(text)) if text.strip() else ()


class RateLimits:
    """The limits of all keys; what is kept is one instant for each key and limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._welcome: dict[tuple[str, int], float] = {}
        """When a key's next request would be welcome if it had never come early."""

    def take(self, key: str, limits: tuple[RateLimitItem, ...]) -> None:
        """Count one request of a key; raises ResourceExhausted, with the seconds to wait, past one of its limits."""
        now = self._clock()
        following: dict[tuple[str, int], float] = {}
        for number, limit in enumerate(limits):
            window = float(limit.get_expiry())
            step = window / limit.amount
            welcome = max(now, self._welcome.get((key, number), now)) + step
            if welcome - now > window + 1e-9:
                raise ResourceExhausted(
                    f"this key may make {limit.amount} requests in {limit.get_expiry()} s",
                    retry_after_seconds=welcome - now - window,
                )
            following[key, number] = welcome
        self._welcome.update(following)
