"""What an operator sees of a start and a stop: a line for each part, and who is being waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

Tell = Callable[[str], None]
"""Shows one line."""

_PATIENCE_SECONDS = 5.0
_WIDTH = 14


def silent(_: str) -> None:
    """Show nothing."""


class Telling:
    """Tells how parts come up and go down."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self.tell = tell
        self._clock = clock
        self._waited: dict[str, float] = {}

    @asynccontextmanager
    async def stage(self, doing: str) -> AsyncIterator[None]:
        """Name, every few seconds, the parts that the block still waits for."""
        nagging = asyncio.create_task(self._nag(doing))
        try:
            yield
        finally:
            nagging.cancel()
            with suppress(asyncio.CancelledError):
                await nagging

    async def _nag(self, doing: str) -> None:
        while True:
            await asyncio.sleep(_PATIENCE_SECONDS)
            now = self._clock()
            names = ", ".join(f"{name} ({now - since:.0f} s)" for name, since in self._waited.items())
            if names:
                self.tell(f"  {doing}: {names} …")

    def begins(self, name: str) -> None:
        """A part is being started or stopped."""
        self._waited[name] = self._clock()

    def ends(self, name: str, outcome: str) -> None:
        """It is up, down, or has failed."""
        seconds = self._clock() - self._waited.pop(name, self._clock())
        self.tell(f"  {name:{_WIDTH}} {outcome} after {seconds:.1f} s")
