"""One attempt at a film: its worker, told again where to go on when it dies; what watchers and the next attempt are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from nodekit import TaskContext, TaskFailed
from services.ocr import reading_worker
from services.ocr.checkpoints import fingerprint, from_checkpoint, to_checkpoint
from services.ocr.cue import ReadLine
from services.ocr.engines import Choice
from services.ocr.line_feed import LineFeed, log_partial
from services.ocr.reading_items import Options, Position, Progress, Result

_READ_PERCENT = 95.0
_MAX_RESTARTS = 1
"""Processes that may die in one attempt and are replaced; when one more dies, another node may have more luck."""


class Extraction:
    """Reads one film in an engine's process."""

    def __init__(
        self, context: TaskContext, film: Path, options: Options, choice: Choice, *, partial_on_cancel: bool
    ) -> None:
        self._context, self._film, self._options, self._choice = context, film, options, choice
        self._partial_on_cancel = partial_on_cancel
        self._position = Position()
        self._lines: list[ReadLine] = []
        self._percent = 0.0
        self._feed = LineFeed(context)
        self.load_seconds = self._read_seconds = 0.0
        self.resumed_at: float | None = None
        """Where this attempt went on, in seconds of the film; None: it began at the beginning."""

    async def read(self) -> Result:
        """Read to the end; raises OcrFault, and TaskFailed (WORKER_DIED) when the process died twice."""
        context = self._context
        of = await context.call(fingerprint, self._film, self._options, self._choice.identity)
        self._position = from_checkpoint(context.checkpoint, of)
        self._lines = list(self._position.lines)
        self.resumed_at = self._position.until or None
        try:
            for restarts_left in reversed(range(_MAX_RESTARTS + 1)):
                try:
                    result = await self._read_on(of)
                    # What an earlier attempt has read is not in this one's time.
                    if self.resumed_at is None:
                        context.worked_on(result.film.duration_seconds, self._read_seconds)
                    return result
                except TaskFailed as failure:
                    if failure.code != "WORKER_DIED" or not restarts_left:
                        raise
                    at = self._position.until
                    await context.log(
                        f"{failure.message}; a new one goes on at {at:.0f} s of the film", "warning"
                    )
                    self._lines = list(self._position.lines)
        except asyncio.CancelledError:
            if self._partial_on_cancel:
                await log_partial(context, self._lines)
            raise
        raise AssertionError("the last restart returns or raises")

    async def _read_on(self, of: str) -> Result:
        async with self._choice.warm(self._context) as model:
            self.load_seconds += 0.0 if model.warm else model.load_seconds
            arguments = (self._film, self._options, self._position)
            result: Result | None = None
            began = time.monotonic()
            try:
                async with aclosing(model.stream(reading_worker.read_film, *arguments)) as items:
                    # To its end, behind the result: a stream that is left early costs the loaded engine.
                    async for item in items:
                        if isinstance(item, Result):
                            result = item
                        else:
                            await self._tell(item, of)
            finally:
                self._read_seconds += time.monotonic() - began
        assert result is not None, "a film that is read ends with its result"
        await self._feed.drain(_READ_PERCENT, result.film.duration_seconds)
        return result

    async def _tell(self, item: Progress, of: str) -> None:
        self._lines += item.lines
        if item.film_seconds:
            self._percent = _READ_PERCENT * min(1.0, item.until / item.film_seconds)
        await self._feed.add(self._percent, item.until, item.lines)
        if item.position is not None:
            self._position = item.position
            checkpoint = to_checkpoint(item.position, of)
            if checkpoint is not None:
                await self._context.save_checkpoint(checkpoint)


def texts_of(lines: Sequence[ReadLine]) -> list[str]:
    """Return each text once."""
    return list(dict.fromkeys(line.text for line in lines))
