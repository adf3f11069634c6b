"""An answer told to the people who watch the task, piece by piece: `{"offset", "delta"}` in the data of progress events."""

from __future__ import annotations

from collections.abc import Callable

from nodekit import TaskContext

INTERVAL_SECONDS = 0.3
"""Longer than nodekit's own between two progress events, so that none of ours is merged with the next and no piece is lost."""
_MOST_BYTES = 3000
"""Of one piece: an event's data has 4 KiB. What does not fit waits for the next one."""


class Telling:
    """Gathers what a model says and tells it at most three times a second. The end of an answer is in the result alone."""

    def __init__(self, context: TaskContext, clock: Callable[[], float]) -> None:
        self._context = context
        self._clock = clock
        self._text = ""
        self._told = 0
        self._next_time = 0.0

    async def tell(self, piece: str) -> None:
        """Take the next piece; an empty one says that the answer begins anew."""
        if not piece:
            self._text, self._told = "", 0
            return
        self._text += piece
        if self._clock() >= self._next_time:
            await self._report()

    async def _report(self) -> None:
        self._next_time = self._clock() + INTERVAL_SECONDS
        delta = (
            self._text[self._told : self._told + _MOST_BYTES].encode()[:_MOST_BYTES].decode(errors="ignore")
        )
        data = {"offset": self._told, "delta": delta}
        self._told += len(delta)
        # A percentage nobody knows: it grows with the answer and leaves room.
        await self._context.progress(5 + 85 * (1 - 1 / (1 + self._told / 2000)), "answering", data=data)
