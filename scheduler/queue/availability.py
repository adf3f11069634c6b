"""Which task types somebody offers now, and when each was last seen: the view that all scheduler replicas share.

A node may be away for a moment (a restart, a new connection) without that anything should be refused or told; so a type counts as
available for some seconds after any scheduler saw a replica that offers it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from runtime.errors import Unavailable
from runtime.logs import get_logger
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from scheduler.settings import SchedulerSection

log = get_logger(__name__)

_PERIOD_SECONDS = 2.0


class Availability:
    """This process's view of what is offered; `offered` and `offers` tell what replicas in its own sight take: all, or one."""

    def __init__(
        self,
        redis: RedisLink,
        keys: Keys,
        settings: SchedulerSection,
        offered: Callable[[], set[str]],
        offers: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._window_ms = settings.unavailable_seconds * 1000
        self._forget_ms = int(settings.forget_types_seconds * 1000)
        self._configured = ",".join(sorted({section.node for section in settings.nodes}))
        self._offered = offered
        self._offers = offers
        self._clock = clock
        self._wanted = asyncio.Event()
        self._seen: dict[str, int] = {}
        self._now_ms = 0
        self._read_time = clock()

    def look(self) -> None:
        """Tell the others at once: a node replica has come into sight."""
        self._wanted.set()

    def is_available(self, name: str) -> bool:
        """Whether a replica offers a task type now, or did a moment ago."""
        return self._offers(name) or self._age_ms(name) <= self._window_ms

    def has_node(self, node: str) -> bool:
        """Whether a replica of a node is there, whatever types it offers."""
        prefix = f"{node}."
        return any(
            name.startswith(prefix) and self.is_available(name) for name in [*self._seen, *self._offered()]
        )

    def last_seen_ms(self, name: str) -> int:
        """Unix milliseconds when a type was last offered; 0: not known."""
        return self._seen.get(name, 0)

    def _age_ms(self, name: str) -> float:
        seen = self._seen.get(name)
        if seen is None:
            return float("inf")
        return self._now_ms + (self._clock() - self._read_time) * 1000 - seen

    async def refresh(self) -> None:
        """Tell what is offered here, and take in what others saw. Raises Unavailable."""
        offered = sorted(self._offered())
        now, flat, forgotten = await self._redis.run(
            "seen", [self._forget_ms, self._configured, *offered], keys=[self._keys.seen, self._keys.types]
        )
        items = iter(flat)
        self._seen = {name.decode(): int(when) for name, when in zip(items, items, strict=True)}
        self._now_ms, self._read_time = int(now), self._clock()
        if forgotten:
            log.info("task types forgotten that nobody has offered for long", count=forgotten)

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            with suppress(Unavailable):
                await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
