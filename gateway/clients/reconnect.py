"""How often, and how soon, a call that follows something is made again after it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runtime.backoff import Backoff
from runtime.errors import Unavailable

Pause = Callable[[float], Awaitable[None]]

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_TRIES_IN_A_ROW = 20
"""About half a minute; then the reader gets an error, and comes back by itself with its last event id."""


class Reconnect:
    """Counts the calls that broke since the last message, and pauses longer before each new one."""

    def __init__(self, pause: Pause = asyncio.sleep) -> None:
        self._pause = pause
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self.failures = 0
        """Calls that broke since the last event."""

    def reset(self) -> None:
        """A message came: the next break is the first again."""
        self.failures = 0
        self._backoff.reset()

    async def after(self, error: Unavailable | None = None) -> None:
        """Pause after a call has broken, or ended although more was to come; raises the error after too many in a row."""
        self.failures += 1
        if error is not None and self.failures > _TRIES_IN_A_ROW:
            raise error
        await self._pause(self._backoff.take())
