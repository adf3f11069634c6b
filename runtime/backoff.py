"""Pauses between attempts at something that failed: each twice as long as the one before, up to the longest."""

from __future__ import annotations

import asyncio


class Backoff:
    """One loop's pauses, in seconds. `reset` after a success: the next failure is the first again."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._next = first_seconds

    @property
    def next_seconds(self) -> float:
        """How long the next pause will be."""
        return self._next

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = self._first

    def take(self) -> float:
        """Return the next pause; the one after it is twice as long."""
        seconds, self._next = self._next, min(self._next * 2, self._longest)
        return seconds

    async def pause(self) -> None:
        """Sleep for the next pause."""
        await asyncio.sleep(self.take())
