"""What every command has in common: which installation is meant, and a client for it in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from yivideo_client.cli.failures import told

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
            async with AsyncClient(resolve(self.url, self.api_key, profile=self.profile)) as client:
                return await work(client)

        with told():
            return asyncio.run(session())
        raise AssertionError("unreachable")


async def first(limit: int, listed: AsyncIterator[T]) -> list[T]:
    """Return at most so many of what a listing has, and ask for no further page."""
    found: list[T] = []
    async for one in listed:
        found.append(one)
        if len(found) == limit:
            break
    return found
