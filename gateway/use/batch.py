"""Many tasks submitted in one request: so many at once, of so many requests, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from runtime.errors import Unavailable

MOST_TASKS = 1000
"""Tasks in one request."""
MOST_REQUESTS = 4
"""Requests that are held in memory at once; the next ones wait with their bodies unread."""
_AT_ONCE = 128
"""Submissions of one request on their way to the scheduler: the others' must find room there, too."""
_WAIT_SECONDS = 10.0
_SECONDS = 60.0

T = TypeVar("T")
R = TypeVar("R")


class BatchPlaces:
    """The places of this process for requests that submit many tasks; one user holds half of them at most.

    A place is taken before the body is read, so that no more bodies than places are in memory. A body may come slowly for a minute:
    whoever sends some such holds up their own batches, and nobody else's.
    """

    def __init__(self, places: int = MOST_REQUESTS, wait_seconds: float = _WAIT_SECONDS) -> None:
        self._places = asyncio.Semaphore(places)
        self._most_of_one = max(1, places // 2)
        self._of_one: dict[str, asyncio.Semaphore] = {}
        self._comers: Counter[str] = Counter()
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def take(self, user: str) -> AsyncIterator[None]:
        """Hold a place for the time of a block. Raises Unavailable when the user could have none for ten seconds."""
        own = self._of_one.setdefault(user, asyncio.Semaphore(self._most_of_one))
        self._comers[user] += 1
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(self._wait_seconds):
                        await held.enter_async_context(
                            own
                        )  # first: who waits for themselves takes none from others
                        await held.enter_async_context(self._places)
                except TimeoutError:
                    raise Unavailable(
                        "too many batches are being submitted here", retry_after_seconds=2
                    ) from None
                yield
        finally:
            self._comers[user] -= 1
            if not self._comers[user]:
                del self._comers[user], self._of_one[user]


async def each(
    things: Sequence[T],
    do: Callable[[int, T], Awaitable[R]],
    late: Callable[[int], R],
    *,
    clock: Callable[[], float] = time.monotonic,
    seconds: float = _SECONDS,
) -> list[R]:
    """Do it to each thing with its index; gives what came of each, in order. Begins nothing after `seconds`: then what `late` says.

    Things begin in their order, and a number of them are under way at once. Whoever is cancelled ends those that are.
    """
    give_up = clock() + seconds
    made: dict[int, R] = {}
    rest = iter(enumerate(things))

    async def work() -> None:
        for index, thing in rest:
            made[index] = await do(index, thing) if clock() < give_up else late(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_AT_ONCE, len(things))):
            group.create_task(work())
    return [made[index] for index in range(len(things))]
