"""Starts parts in order, starts a part again when it dies, and stops them in the reverse order of trust."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby

from runtime.backoff import Backoff
from runtime.logs import get_logger
from stack.log_files import LogFiles
from stack.part import Part, PartFailed, PartSpec
from stack.telling import Telling, silent

log = get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


class Supervisor:
    """The parts of one stack, by name."""

    def __init__(self, logs: LogFiles, telling: Telling | None = None) -> None:
        self._logs = logs
        self._telling = telling or Telling(silent)
        self.parts: dict[str, Part] = {}
        self._tiers: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        """Optional parts that do not run, and why."""

    @asynccontextmanager
    async def running(
        self, stages: Sequence[Sequence[PartSpec]], inherited: Sequence[int] = ()
    ) -> AsyncIterator[None]:
        """Run the parts for the time of the block. Parts of one stage start side by side, stages one after the other.

        Raises PartFailed when one does not start, unless it is optional: then the rest runs, and it is tried again.
        """
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._stop_all)
            for number, stage in enumerate(stages):
                parts = [Part(spec, self._logs.path(spec.name), inherited) for spec in stage]
                for part in parts:
                    self.parts[part.spec.name] = part
                    self._tiers[part.spec.name] = -number if part.spec.tier is None else part.spec.tier
                async with self._telling.stage("starting"), asyncio.TaskGroup() as starting:
                    starts = [starting.create_task(self._start(part)) for part in parts]
                for start in starts:
                    if error := start.result():
                        raise error
            keepers = [asyncio.create_task(self._keep_alive(part)) for part in self.parts.values()]
            keepers.append(asyncio.create_task(self._logs.keep_bounded()))
            try:
                yield
            finally:
                for keeper in keepers:
                    keeper.cancel()
                await asyncio.gather(*keepers, return_exceptions=True)

    async def _start(self, part: Part) -> PartFailed | None:
        """Start a part; gives what the stack cannot do without it for."""
        name = part.spec.name
        self._telling.begins(name)
        try:
            await part.start()
        except PartFailed as error:
            self._telling.ends(name, f"FAILED: {error}\n   ")
            if not part.spec.optional:
                return error
            self.failed[name] = str(error)
        else:
            self._telling.ends(name, "ready")
        return None

    async def _stop_all(self) -> None:
        """Stop by tier: who is stopped first may still speak to those after it."""
        for _, tier in groupby(sorted(self.parts, key=self._tier), key=self._tier):
            living = [self.parts[name] for name in tier if self.parts[name].pid is not None]
            async with self._telling.stage("stopping"):
                await asyncio.gather(*(self._stop(part) for part in living))

    def _tier(self, name: str) -> int:
        return self._tiers[name]

    async def _stop(self, part: Part) -> None:
        self._telling.begins(part.spec.name)
        drained = await part.stop()
        self._telling.ends(part.spec.name, "stopped" if drained else "KILLED: it did not drain")

    async def _keep_alive(self, part: Part) -> None:
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            status = await part.wait()
            log.error(
                "a part ended; starting it again",
                part=part.spec.name,
                status=status,
                pause_seconds=backoff.next_seconds,
            )
            await backoff.pause()
            try:
                await part.start()
            except PartFailed as error:
                log.error("a part cannot be started", part=part.spec.name, reason=str(error))
            else:
                self.failed.pop(part.spec.name, None)
                backoff.reset()
