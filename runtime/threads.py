"""Runs small, bounded file work in threads so that a caller's cancellation never leaves it half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """A few threads of our own: file work neither waits for, nor starves, the loop's default ones."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def begin(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Start the function in a thread; whoever begins it must `wait` for it or `settle` it."""
        return asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in a thread and wait for it, as `wait` does."""
        return await self.wait(self.begin(function, *args, **kwargs))

    async def acquire(
        self, release: Callable[[R], object], function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return what a function has opened in a thread; when the caller is cancelled meanwhile, it is released again."""
        future = self.begin(function, *args, **kwargs)
        cancelled = await _until_done(future)
        if cancelled is not None:
            if future.exception() is None:
                release(future.result())
            raise cancelled
        return future.result()

    async def wait(self, future: asyncio.Future[R]) -> R:
        """Wait for what was begun.

        A thread cannot be stopped, so when the caller is cancelled this still waits until the function has returned:
        whatever the caller does next (close, unlink) does not race with it. Functions given here are short.
        """
        cancelled = await _until_done(future)
        if cancelled is not None:
            # Its own error, if any, is of no interest to a caller that has gone.
            future.exception()
            raise cancelled
        return future.result()

    async def settle(self, *futures: asyncio.Future[R]) -> None:
        """Wait until all that was begun has ended, whatever its outcome."""
        cancelled: asyncio.CancelledError | None = None
        for future in futures:
            cancelled = await _until_done(future) or cancelled
            future.exception()
        if cancelled is not None:
            raise cancelled

    def close(self) -> None:
        """Wait for what runs and stop the threads."""
        self._pool.shutdown(wait=True)


async def _until_done(future: asyncio.Future[R]) -> asyncio.CancelledError | None:
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
