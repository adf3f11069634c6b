"""The round trip of an EVALSHA that does nothing, on a connection that was idle before: what no decision in Redis can avoid.

The client is the leanest we know: one connection, one request under way, an `asyncio.Protocol` on uvloop with the parser in C.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis
import uvloop

IDLE_GAP_SECONDS = 0.02
"""What a lock service sees between two requests when little goes on."""


class _Link(asyncio.Protocol):
    def __init__(self) -> None:
        self._parser = hiredis.Reader()
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        answer = self._parser.gets()
        if answer is not False and self._answer is not None:
            self._answer.set_result(answer)

    async def ask(self, *words: Any) -> object:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(hiredis.pack_command(words))
        return await self._answer


async def _measure(url: str, count: int, gap_seconds: float) -> list[float]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    _, link = await asyncio.get_running_loop().create_connection(_Link, parts.hostname, parts.port)
    if parts.password:
        await link.ask("AUTH", parts.password)
    digest = await link.ask("SCRIPT", "LOAD", "return 1")
    times = []
    for _ in range(count):
        if gap_seconds:
            await asyncio.sleep(gap_seconds)
        begin = time.perf_counter()
        await link.ask("EVALSHA", digest, 0)
        times.append(time.perf_counter() - begin)
    return times


def script_seconds(url: str, count: int, gap_seconds: float = IDLE_GAP_SECONDS) -> list[float]:
    """Measure so many round trips, each after a pause."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(url, count, gap_seconds))
