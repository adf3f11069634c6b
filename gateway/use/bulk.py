"""One thing done to many tasks: which they are, a few at a time, with an outcome for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.clients.backend import Backend
from runtime.errors import YiVideoError
from yivideo.task.v1 import task_pb2

MOST_TASKS = 500
"""Tasks in one request."""
_AT_ONCE = 16
_SECONDS = 60.0
"""After this nothing more is begun; what is left over is said."""

Do = Callable[[str], Awaitable[str]]
"""Does it to one task; gives the word for what became of it. Raises what the scheduler refuses."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task."""

    task_id: str
    status: str
    """The word of what was done, `failed`, or `not_tried`."""
    error: YiVideoError | None = None


async def chosen(backend: Backend, wanted: task_pb2.ListTasksRequest, limit: int) -> tuple[list[str], bool]:
    """Return the ids of at most `limit` tasks that a listing has, and whether there are more."""
    ids: list[str] = []
    request = task_pb2.ListTasksRequest()
    request.CopyFrom(wanted)
    while len(ids) < limit:
        request.page_size = limit - len(ids)
        page = await backend.read(backend.tasks.ListTasks, request)
        ids += [task.spec.task_id for task in page.tasks]
        if not page.next_page_token:
            return ids, False
        request.page_token = page.next_page_token
    return ids, True


async def each(
    task_ids: Sequence[str], do: Do, *, clock: Callable[[], float] = time.monotonic, seconds: float = _SECONDS
) -> list[Outcome]:
    """Do it to each task, 16 at a time; begins nothing after `seconds`. Gives an outcome for each, in the order given."""
    give_up = clock() + seconds
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(task_id: str) -> Outcome:
        async with places:
            if clock() >= give_up:
                return Outcome(task_id, "not_tried")
            try:
                return Outcome(task_id, await do(task_id))
            except YiVideoError as error:
                return Outcome(task_id, "failed", error)

    return list(await asyncio.gather(*map(one, task_ids)))
