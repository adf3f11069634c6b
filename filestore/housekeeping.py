"""What the filestore does by itself now and then: asks whether the store is there, counts, removes abandoned uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from filestore.store import FileStore
from runtime.errors import YiVideoError
from runtime.logs import get_logger

log = get_logger(__name__)

_PING_INTERVAL_SECONDS = 10.0


@asynccontextmanager
async def keeping_house(
    store: FileStore, tell_health: Callable[[bool], Awaitable[None]]
) -> AsyncIterator[None]:
    """Run the chores for the time of a block; `tell_health` hears every change of whether the store answers."""
    section = store.section
    healthy = True

    async def ping() -> None:
        nonlocal healthy
        answered = await store.healthy()
        if answered != healthy:
            healthy = answered
            await tell_health(answered)

    async with asyncio.TaskGroup() as chores:
        tasks = [
            chores.create_task(_every(_PING_INTERVAL_SECONDS, ping)),
            chores.create_task(_every(section.usage_interval_seconds, store.recount)),
            chores.create_task(_every(section.clean_interval_seconds, _cleaner(store))),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _cleaner(store: FileStore) -> Callable[[], Awaitable[None]]:
    async def clean() -> None:
        removed = await store.clean()
        if removed:
            log.info("abandoned uploads removed", count=removed)

    return clean


async def _every(interval_seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(interval_seconds)
        try:
            await chore()
        except YiVideoError as error:
            log.warning("a chore has to wait", chore=getattr(chore, "__name__", ""), reason=str(error))
