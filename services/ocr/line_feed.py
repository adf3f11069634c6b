"""Lines on their way to a task's watchers while the rest of the film is being read: each is told once, in order.

A progress report has room for 4 KiB, and of reports that come faster than four a second only the latest is told: so lines wait here
until a report of their own has room and time for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from nodekit import TaskContext
from services.ocr.cue import ReadLine
from services.ocr.subtitle_files import lines_as_srt

_PERIOD_SECONDS = 0.3
_MAX_LETTERS = 700
"""Of one report: three bytes each and the rest of JSON stay under its limit."""
_LOG_LETTERS = 600
_MAX_LOGS = 60


class LineFeed:
    """The lines of one attempt."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._waiting: deque[ReadLine] = deque()
        self._next_time = 0.0

    async def add(self, percent: float, until: float, lines: Sequence[ReadLine]) -> None:
        """Tell of lines, now or with a later call."""
        self._waiting.extend(lines)
        if time.monotonic() >= self._next_time:
            await self._send(percent, until)

    async def drain(self, percent: float, until: float) -> None:
        """Tell of all that still waits."""
        while self._waiting:
            await asyncio.sleep(max(0.0, self._next_time - time.monotonic()))
            await self._send(percent, until)

    async def _send(self, percent: float, until: float) -> None:
        room, lines = _MAX_LETTERS, list[dict[str, object]]()
        while self._waiting and room > 0:
            line = self._waiting.popleft()
            lines.append(
                {"start": round(line.start, 3), "end": round(line.end, 3), "text": line.text[:_MAX_LETTERS]}
            )
            room -= len(line.text) + 20
        self._next_time = time.monotonic() + _PERIOD_SECONDS
        await self._context.progress(
            percent, "reading", data={"lines": lines, "read_seconds": round(until, 3)}
        )


async def log_partial(context: TaskContext, lines: Sequence[ReadLine]) -> None:
    """Write what was read into the task's log, as SRT in numbered pieces: a cancelled attempt keeps no files."""
    text = lines_as_srt(lines)
    pieces = [text[at : at + _LOG_LETTERS] for at in range(0, len(text), _LOG_LETTERS)][:_MAX_LOGS]
    for number, piece in enumerate(pieces, 1):
        await context.log(f"partial result {number}/{len(pieces)}\n{piece}")
