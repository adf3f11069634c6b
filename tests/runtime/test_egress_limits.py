"""Guarded requests whose peer stalls, breaks off or never ends, and whose caller has troubles of its own."""

from __future__ import annotations

import asyncio
import errno

import aiohttp
import pytest
from aiohttp import web

from runtime.errors import DeadlineExceeded, Unavailable
from tests.runtime.web_room import Handler, egress, fetched, serving


async def _never(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _stalls_in_the_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first")
    return await _never(request)


@pytest.mark.parametrize("handler", [_never, _stalls_in_the_body])
async def test_the_time_limit_covers_headers_and_body(handler: Handler) -> None:
    """A peer that stalls anywhere ends in DeadlineExceeded."""
    async with serving(handler) as port, egress("127.0.0.1") as made:
        with pytest.raises(DeadlineExceeded):
            async with made.request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=0.2) as response:
                await response.read()


async def test_the_time_limit_is_one_for_all_hops() -> None:
    """A chain of slow redirects cannot stretch the limit."""
    hops = 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal hops
        hops += 1
        await asyncio.sleep(0.1)
        return web.Response(status=302, headers={"Location": f"/{hops}"})

    async with serving(slow) as port, egress("127.0.0.1") as made:
        with pytest.raises(DeadlineExceeded):
            async with made.request(
                "GET", f"http://127.0.0.1:{port}/", timeout_seconds=0.35, max_redirects=50
            ):
                raise AssertionError("no response ends this chain")
    assert hops <= 4


async def test_a_body_that_breaks_off_is_unavailable() -> None:
    """A connection cut in the middle of the body is the peer's fault."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"short")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serving(cut) as port, egress("127.0.0.1") as made:
        with pytest.raises(Unavailable):
            await fetched(made, f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        TimeoutError("the caller's own"),
        ConnectionResetError("of another connection"),
        aiohttp.ClientPayloadError("of another session"),
        ValueError("anything"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_the_callers_own_errors_pass_unchanged(error: Exception) -> None:
    """What the block raises is not the peer's: a full disk while saving a body stays a full disk."""
    async with serving() as port, egress("127.0.0.1") as made:
        with pytest.raises(type(error)) as caught:
            async with made.request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=5) as response:
                await response.read()
                raise error
    assert caught.value is error


async def test_a_body_that_nobody_reads_is_dropped() -> None:
    """Leaving the block early closes the connection instead of reading an endless body, and the next request works."""
    endless = True

    async def body(request: web.Request) -> web.StreamResponse:
        if not endless:
            return web.Response(text="fresh")
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with serving(body) as port, egress("127.0.0.1") as made:
        async with made.request("GET", f"http://127.0.0.1:{port}/", timeout_seconds=5) as response:
            assert len(await response.content.readexactly(10)) == 10
        endless = False
        assert await fetched(made, f"http://127.0.0.1:{port}/") == "fresh"
