"""Keeps this scheduler's leases: says every beat which attempts' nodes it is in contact with, and does what the answer says.

When Redis has not answered for as long as another replica needs to declare this one dead, this one cannot prove any more that
it owns anything. It then lets go of its streams and claims nothing, so that a node which no living scheduler can reach is
watched by nobody and stops its work. With Redis back, an attempt that is still ours is attached to again; one that was adopted
meanwhile is left alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from runtime.errors import Unavailable
from runtime.logs import get_logger
from scheduler import metrics
from scheduler.queue.attempt_store import AttemptStore, Beat
from scheduler.run.dispatcher import Dispatcher
from scheduler.run.runner import Runner
from scheduler.settings import SchedulerSection

log = get_logger(__name__)

_BATCH = 100


class LeaseKeeper:
    """The one lease renewal of a process."""

    def __init__(
        self,
        store: AttemptStore,
        dispatcher: Dispatcher,
        settings: SchedulerSection,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._settings = settings
        self._clock = clock
        self._proven_time = clock()
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            begun = self._clock()
            try:
                await self.beat()
            except Unavailable:
                if self._clock() - self._proven_time >= self._settings.scheduler_ttl_seconds:
                    self._let_go()
            await asyncio.sleep(max(0.05, self._settings.beat_seconds - (self._clock() - begun)))

    async def beat(self) -> None:
        """Renew once. Raises Unavailable when Redis does not answer within a beat."""
        begun = self._clock()
        runners = self._dispatcher.runners
        for first in range(0, max(1, len(runners)), _BATCH):
            batch = runners[first : first + _BATCH]
            beats = [Beat(one.task_id, one.claim.record.fence, one.age_seconds) for one in batch]
            answers = await self._store.beat(beats, retry_seconds=self._settings.beat_seconds)
            for runner, answer in zip(batch, answers, strict=True):
                await self._apply(runner, answer)
        self._proven_time = begun
        if not self._dispatcher.may_own:
            log.info("redis answers again; owning again")
            self._dispatcher.may_own = True
            self._dispatcher.want_all()

    async def _apply(self, runner: Runner, answer: list[str]) -> None:
        if answer[0] == "lost":
            await self._dispatcher.detach(runner)
            return
        metrics.LEASE_MARGIN.observe(max(0.0, self._settings.lease_seconds - runner.age_seconds))
        runner.resume()
        if answer[0] == "cancelling":
            grace = float(answer[1]) if answer[1] else None
            telling = asyncio.create_task(runner.stop(answer[2], grace))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    def _let_go(self) -> None:
        if self._dispatcher.may_own:
            log.error("redis has been silent too long; letting go of all attempts")
        self._dispatcher.may_own = False
        for runner in self._dispatcher.runners:
            runner.suspend()
