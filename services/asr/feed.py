"""Feed: segments go to the task's watchers while the rest is still being heard.

A progress report may have 4 KiB of data, and of reports that come faster than four a second only the latest is told: so
segments wait here until a report of their own has room and time for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from nodekit import TaskContext
from nodekit.attempt.progress import INTERVAL_SECONDS
from services.asr.transcript import Segment

STAGE = "transcribing"
_MAX_BYTES = 3_000
_MAX_TEXT = 800
_PERIOD_SECONDS = INTERVAL_SECONDS * 1.2


class Feed:
    """The segments of one attempt on their way to its watchers, in the order in which they were heard."""

    def __init__(self, context: TaskContext, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._waiting: deque[dict[str, Any]] = deque()
        self._percent = 0.0
        self._next_time = 0.0

    async def add(self, percent: float, segments: Iterable[Segment]) -> None:
        """Tell of segments, now or with a later call."""
        self._percent = percent
        self._waiting.extend(_entry(segment) for segment in segments)
        if self._clock() >= self._next_time:
            await self._send()

    async def drain(self) -> None:
        """Tell of all that still waits."""
        while self._waiting:
            await asyncio.sleep(max(0.0, self._next_time - self._clock()))
            await self._send()

    async def _send(self) -> None:
        entries: list[dict[str, Any]] = []
        room = _MAX_BYTES
        while self._waiting and (room := room - len(orjson.dumps(self._waiting[0]))) >= 0:
            entries.append(self._waiting.popleft())
        self._next_time = self._clock() + _PERIOD_SECONDS
        data = {"segments": entries} if entries else None
        message = entries[-1]["text"] if entries else ""
        await self._context.progress(self._percent, STAGE, message[:200], data)


def _entry(segment: Segment) -> dict[str, Any]:
    entry = {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text[:_MAX_TEXT],
        "language": segment.language,
    }
    return entry if segment.speaker is None else {**entry, "speaker": segment.speaker}
