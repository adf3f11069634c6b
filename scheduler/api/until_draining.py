"""What every watch has in common: it follows a feed until this replica drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from runtime.errors import Draining

T = TypeVar("T")


async def until_draining(feed: AsyncGenerator[T, None], draining: asyncio.Event) -> AsyncGenerator[T, None]:
    """Yield what a feed yields, and close it in the end. Raises Draining when this replica stops, and what the feed raises."""
    stopping = asyncio.ensure_future(draining.wait())
    step: asyncio.Future[T] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(feed))
            await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                raise Draining("this scheduler is shutting down; watch again with the last sequence")
            yield step.result()
    finally:
        stopping.cancel()
        if step is not None and not step.done():
            step.cancel()
            await asyncio.wait({step})
        await feed.aclose()
