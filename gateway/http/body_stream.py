"""Reads a request's body as it arrives, bounded in time: a client that sends next to nothing is told so and let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from runtime.errors import PayloadTooLarge, RequestTimeout

STALLED_SECONDS = web.AppKey("stalled_seconds", float)
"""How long a client may send next to nothing."""

READ_BUFFER_BYTES = 64 * 1024
"""What the HTTP server buffers of a body before it stops reading. Below the 256 KiB that a socket gives at once, so that pieces
are not joined (a copy); small enough that a message stays below the 2 MiB of FileService."""


LEAST_BYTES = 64 * 1024
"""A client that sends less than this, and has not sent all, within the stalled time stands still, however often it sends a byte."""


def reading(request: web.Request, stalled_seconds: float) -> Callable[[], Awaitable[bytes]]:
    """Return what reads the next piece of a request's body; it raises RequestTimeout when the client stands still.

    Only the time counts that is spent waiting for the client, not what is done with its bytes in between.
    """
    content = request.content
    clock = asyncio.get_running_loop().time
    waited_seconds, come_bytes = 0.0, 0

    async def read() -> bytes:
        nonlocal waited_seconds, come_bytes
        if (
            content.is_eof()
        ):  # all of it is here, as small ones come with the head: there is nobody to wait for
            return content.read_nowait()
        begun = clock()
        try:
            async with asyncio.timeout(stalled_seconds - waited_seconds):
                piece = await content.readany()
        except TimeoutError:
            raise RequestTimeout(
                f"the body stalled: less than {LEAST_BYTES} bytes in {stalled_seconds:g} s"
            ) from None
        waited_seconds += clock() - begun
        come_bytes += len(piece)
        if come_bytes >= LEAST_BYTES:
            waited_seconds, come_bytes = 0.0, 0
        return piece

    return read


async def whole(request: web.Request, limit_bytes: int, stalled_seconds: float) -> bytes:
    """Return a body that is small enough to hold; raises PayloadTooLarge and RequestTimeout."""
    if (request.content_length or 0) > limit_bytes:
        raise PayloadTooLarge(f"the body is larger than {limit_bytes} bytes")
    read = reading(request, stalled_seconds)
    held = bytearray()
    while piece := await read():
        held += piece
        if len(held) > limit_bytes:
            raise PayloadTooLarge(f"the body is larger than {limit_bytes} bytes")
    return bytes(held)


async def pieces(read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """Yield a raw body."""
    while piece := await read():
        yield piece
