"""Starts parts in order, starts a part again when it dies, and stops them in the opposite order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from runtime.logs import get_logger
from stack.part import Part, PartFailed, PartSpec

log = get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


class Supervisor:
    """The parts of one stack, by name."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self.parts: dict[str, Part] = {}
        self.failed: dict[str, str] = {}
        """Optional parts that do not run, and why."""

    @asynccontextmanager
    async def running(self, stages: Sequence[Sequence[PartSpec]]) -> AsyncIterator[None]:
        """Run the parts for the time of the block. Parts of one stage start side by side, stages one after the other.

        Raises PartFailed when one does not start, unless it is optional: then the rest runs, and it is tried again.
        """
        self._log_folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as undo:
            for stage in stages:
                parts = [Part(spec, self._log_folder / f"{spec.name}.log") for spec in stage]
                undo.push_async_callback(_stop_all, parts)
                starts = await asyncio.gather(*(self._start(part) for part in parts), return_exceptions=True)
                for outcome in starts:
                    if isinstance(outcome, BaseException):
                        raise outcome
                self.parts.update({part.spec.name: part for part in parts})
            keepers = [asyncio.create_task(self._keep_alive(part)) for part in self.parts.values()]
            try:
                yield
            finally:
                for keeper in keepers:
                    keeper.cancel()
                await asyncio.gather(*keepers, return_exceptions=True)

    async def _start(self, part: Part) -> None:
        try:
            await part.start()
        except PartFailed as error:
            if not part.spec.optional:
                raise
            self.failed[part.spec.name] = str(error)

    async def _keep_alive(self, part: Part) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            status = await part.wait()
            log.error(
                "a part ended; starting it again", part=part.spec.name, status=status, pause_seconds=pause
            )
            await asyncio.sleep(pause)
            try:
                await part.start()
            except PartFailed as error:
                log.error("a part cannot be started", part=part.spec.name, reason=str(error))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                self.failed.pop(part.spec.name, None)
                pause = _FIRST_PAUSE_SECONDS


async def _stop_all(parts: Sequence[Part]) -> None:
    await asyncio.gather(*(part.stop() for part in parts))
