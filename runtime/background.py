"""Work beside the main one, without which a process must not go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from runtime.logs import get_logger

log = get_logger(__name__)


@asynccontextmanager
async def background(what: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a task beside the block. When it breaks, the process must end and be restarted: half a service is worse than none."""
    owner = asyncio.current_task()
    task = asyncio.create_task(work)

    def broke(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.critical(f"the {what} broke", exc_info=error)
            if owner is not None:
                owner.cancel()

    task.add_done_callback(broke)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
