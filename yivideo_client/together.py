"""Several pieces of work side by side, of which the first that fails speaks for all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def together(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Do all of it; when one fails the others are cancelled, and its error is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except* Exception as several:
        raise several.exceptions[0] from several
