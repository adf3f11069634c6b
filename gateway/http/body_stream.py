"""Reads a request's body as it arrives, for bodies that are too large to hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from runtime.errors import DeadlineExceeded

READ_BUFFER_BYTES = 64 * 1024
"""What the HTTP server buffers of a body before it stops reading. Below the 256 KiB that a socket gives at once, so that pieces
are not joined (a copy); small enough that a message stays below the 2 MiB of FileService."""


def reading(request: web.Request, stalled_seconds: float) -> Callable[[], Awaitable[bytes]]:
    """Return what reads the next piece of a request's body; it raises DeadlineExceeded when the client sends nothing."""
    content = request.content

    async def read() -> bytes:
        try:
            async with asyncio.timeout(stalled_seconds):
                return await content.readany()
        except TimeoutError:
            raise DeadlineExceeded("the upload stalled") from None

    return read


async def pieces(read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """Yield a raw body."""
    while piece := await read():
        yield piece
