"""The sweeper: lets time take what is due, when it is due. Any number of replicas may run it; a sweep done twice is harmless."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from gpulock.lease.lessor import Lessor
from gpulock.settings import GpulockSection
from runtime.errors import Unavailable
from runtime.logs import get_logger

log = get_logger(__name__)

_EARLY_SECONDS = 0.001
"""Redis's clock and ours run apart by less; looking too early would cost a second look."""


class Sweeper:
    """One process's sweeper. It sleeps until the next deadline, and a third of a replica's life at the longest."""

    def __init__(self, section: GpulockSection) -> None:
        self._section = section
        self._wake_at = 0.0
        self._sooner = asyncio.Event()
        self.turn_time = time.monotonic()
        """Local monotonic time of the last turn that ended well: a sweeper that stands still is seen here."""

    def expect(self, seconds: float) -> None:
        """Look in so many seconds, when that is sooner than planned."""
        at = time.monotonic() + seconds + _EARLY_SECONDS
        if at < self._wake_at:
            self._wake_at = at
            self._sooner.set()

    def longest_wait(self, lessor: Lessor) -> float:
        """Return the seconds between two turns when nothing is due."""
        interval = lessor.configuration.gpu_lock_monitor.monitor_interval
        return min(interval, self._section.replica_ttl_seconds / 3)

    async def run(self, lessor: Lessor) -> None:
        """Sweep for ever."""
        while True:
            self._wake_at = time.monotonic() + self.longest_wait(lessor)
            try:
                found = await lessor.sweep()
            except Unavailable:
                self._wake_at = time.monotonic() + _EARLY_SECONDS
            else:
                self.turn_time = time.monotonic()
                if found.full:
                    continue
            await self._sleep()

    async def _sleep(self) -> None:
        while (left := self._wake_at - time.monotonic()) > 0:
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._sooner.wait()
