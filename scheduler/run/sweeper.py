"""The sweeper: finds, on its own timer and without a lock, everything that time alone brings. Any number of replicas may run it."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress

from runtime.errors import Unavailable
from runtime.logs import get_logger
from scheduler import metrics
from scheduler.queue.attempt_store import AttemptStore, Sweep
from scheduler.queue.task_store import TaskStore
from scheduler.run.dispatcher import Dispatcher
from scheduler.settings import SchedulerSection

log = get_logger(__name__)

_LIMIT = 100
_SHORTEST_SECONDS = 0.005


class Sweeper:
    """One process's sweeper."""

    def __init__(
        self, attempts: AttemptStore, tasks: TaskStore, dispatcher: Dispatcher, settings: SchedulerSection
    ) -> None:
        self._attempts = attempts
        self._tasks = tasks
        self._dispatcher = dispatcher
        self._period_seconds = settings.sweep_seconds
        self._wanted = asyncio.Event()
        self.turn_time = time.monotonic()
        """Local monotonic time of the last turn that ended well: a sweeper that stands still is seen here."""

    def expect(self, seconds: float) -> None:
        """Look in so many seconds, when that is sooner than the next turn: a start time was set."""
        if seconds < self._period_seconds:
            asyncio.get_running_loop().call_later(seconds, self._wanted.set)

    async def run(self) -> None:
        """Sweep for ever, sooner when something is due sooner."""
        while True:
            wait = self._period_seconds * random.uniform(0.8, 1.0)  # noqa: S311 - replicas must not march in step
            with suppress(Unavailable):
                found = await self.sweep()
                self.turn_time = time.monotonic()
                if found.next_seconds is not None:
                    wait = min(wait, found.next_seconds)
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(_SHORTEST_SECONDS, wait)):
                    await self._wanted.wait()

    async def sweep(self) -> Sweep:
        """Do one turn."""
        found = await self._attempts.sweep(_LIMIT)
        for node in found.ready_nodes:
            self._dispatcher.want(node)
        for task_id, behind in found.adopt:
            metrics.SWEEP_LAG.observe(behind)
            await self._dispatcher.adopt(task_id)
        for task_id in found.late:
            await self._tasks.abandon(task_id)
        for task_id in found.settle:
            await self._tasks.settle(task_id)
        return found
