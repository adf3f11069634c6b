"""Opening a named pipe, which waits for its other side: whoever waits for that can leave."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


async def opened_when_ready(path: Path, opens: Callable[[Path], int | None]) -> int | None:
    """Return the descriptor that `opens` gives, which may wait; when cancelled, end its waiting and close it again."""
    opening = asyncio.get_running_loop().run_in_executor(None, opens, path)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(OSError):
            await _given_up(path, opening)
        raise


async def _given_up(path: Path, opening: asyncio.Future[int | None]) -> None:
    other_side = None if opening.done() else await asyncio.to_thread(_both_sides, path)
    try:
        descriptor = await opening
        if descriptor is not None:
            os.close(descriptor)
    finally:
        if other_side is not None:
            os.close(other_side)


def _both_sides(path: Path) -> int | None:
    """Open both sides of a named pipe at once, which waits for nobody; returns None for what is none."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK) if stat.S_ISFIFO(path.stat().st_mode) else None
