"""Goes on with a task's work when a worker process of it has died: once with a new process, then the attempt fails as retryable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from nodekit.context import TaskContext
from nodekit.failure import TaskFailed

Result = TypeVar("Result")


async def through_deaths(
    context: TaskContext, work: Callable[[], Awaitable[Result]], *, deaths: int = 1
) -> Result:
    """Await `work()`, and once more for each of so many workers that die in it; watchers are told.

    `work` must find what an earlier call of it has done (in files of the attempt, or in what it has taken note of) and go on
    there. One process may be killed for its memory or crash by bad luck; when more die, another node may have more luck, and the
    TaskFailed (WORKER_DIED) of the last one is raised.
    """
    for left in reversed(range(deaths + 1)):
        try:
            return await work()
        except TaskFailed as failure:
            if failure.code != "WORKER_DIED" or not left:
                raise
            await context.log(f"{failure.message}; a new one goes on where it stopped", "warning")
    raise AssertionError("the last round returns or raises")
