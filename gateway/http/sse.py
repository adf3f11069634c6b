"""Server-sent events: how one is written, and the loop that writes them to one client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import orjson
from aiohttp import web
from prometheus_client import Gauge

from gateway.http.errors import UNDER_WAY
from runtime.errors import InvalidArgument, YiVideoError
from runtime.logs import get_logger

log = get_logger(__name__)

E = TypeVar("E")

STREAMS = Gauge("yivideo_sse_connections", "Event streams that are open.")

LAST_EVENT_ID = "Last-Event-ID"

RETRY_MILLISECONDS = 2000
PING = b": ping\n\n"
GOODBYE = b": this server is shutting down; reconnect with your last event id\n\n"

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


def written(name: str, data: Mapping[str, Any], identity: str = "") -> bytes:
    """Write one event; only one with an identity can be resumed after."""
    line = f"id: {identity}\n" if identity else ""
    return f"{line}event: {name}\ndata: ".encode() + orjson.dumps(data, option=orjson.OPT_UTC_Z) + b"\n\n"


def last_event_id(request: web.Request, is_valid: Callable[[str], bool]) -> str:
    """Return the id of the last event that a client has seen, empty without one; raises InvalidArgument."""
    last = request.headers.get(LAST_EVENT_ID, "").strip()
    if last and not is_valid(last):
        raise InvalidArgument(f"{LAST_EVENT_ID} must be the id of an event of this stream")
    return last


async def stream(
    request: web.Request, write_all: Callable[[web.StreamResponse], Awaitable[None]]
) -> web.StreamResponse:
    """Answer with an event stream that `write_all` writes.

    An error of our tree that it raises ends the stream in good order: the client comes back with its last event id and is
    then told in full, by status and body. TimeoutError, for a client that takes nothing, breaks the connection.
    """
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    request[UNDER_WAY] = response
    if request.method == "HEAD":
        await response.write_eof()
        return response
    with STREAMS.track_inprogress():
        try:
            await write_all(response)
        except YiVideoError as error:
            log.info("event stream ended early", code=error.code, reason=error.message)
    await response.write_eof()
    return response


class StreamWriter:
    """Writes to one client that must take what it is sent."""

    def __init__(self, response: web.StreamResponse, *, stalled_seconds: float) -> None:
        self._response = response
        self._stalled_seconds = stalled_seconds

    async def write(self, data: bytes) -> None:
        """Send bytes; raises TimeoutError when the client takes nothing."""
        if data:
            async with asyncio.timeout(self._stalled_seconds):
                await self._response.write(data)


class EventWriter(StreamWriter, Generic[E]):
    """Writes events to one client until the last one, the drain, or the client's end."""

    def __init__(
        self,
        response: web.StreamResponse,
        frame: Callable[[E], bytes],
        *,
        is_last: Callable[[E], bool] = lambda _: False,
        ping_seconds: float,
        stalled_seconds: float,
    ) -> None:
        super().__init__(response, stalled_seconds=stalled_seconds)
        self._frame = frame
        self._is_last = is_last
        self._ping_seconds = ping_seconds

    async def run(self, events: AsyncIterator[E], draining: asyncio.Event) -> None:
        """Write until the end. Raises TimeoutError for a client that takes nothing, and what `events` raises."""
        await self.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        upcoming = asyncio.ensure_future(anext(events, None))
        drained = asyncio.ensure_future(draining.wait())
        try:
            while True:
                await asyncio.wait(
                    (upcoming, drained), timeout=self._ping_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if upcoming.done():
                    event = upcoming.result()
                    if event is None:
                        return
                    await self.write(self._frame(event))
                    if self._is_last(event):
                        return
                    upcoming = asyncio.ensure_future(anext(events, None))
                elif drained.done():
                    await self.write(GOODBYE)
                    return
                else:
                    await self.write(PING)
        finally:
            upcoming.cancel()
            drained.cancel()
            await asyncio.gather(upcoming, drained, return_exceptions=True)
