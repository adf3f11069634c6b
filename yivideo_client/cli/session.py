"""What every command has in common: which installation is meant, and a client for it in an event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from yivideo_client.cli.failures import Terminated, say, told

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """The options that stand before the command."""

    url: str | None = None
    api_key: str | None = None
    profile: str | None = None

    def run(self, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Do some work with a client; ends the process with the right code when it fails."""
        from yivideo_client.client import AsyncClient
        from yivideo_client.connection import resolve

        async def session() -> T:
            connection = resolve(self.url, self.api_key, profile=self.profile)
            async with AsyncClient(connection, on_trouble=lambda said: say(f"yivideo: {said}")) as client:
                return await work(client)

        with told():
            return asyncio.run(ended_by_signal(session()))
        raise AssertionError("unreachable")


async def ended_by_signal(work: Coroutine[Any, Any, T]) -> T:
    """Do some work that SIGTERM ends as Ctrl-C does: what it cleans up is cleaned up. Raises Terminated."""
    task, terminated = asyncio.ensure_future(work), False

    def end() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    with suppress(NotImplementedError, RuntimeError, ValueError):  # not everywhere, and in a main thread only
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        return await task
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise


async def first(limit: int, listed: AsyncIterator[T]) -> list[T]:
    """Return at most so many of what a listing has, and ask for no further page."""
    found: list[T] = []
    async for one in listed:
        found.append(one)
        if len(found) == limit:
            break
    return found
