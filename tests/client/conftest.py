"""A server on a real port whose answers a test writes, one function a request; and a client that does not wait long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from yivideo_client import AsyncClient, Connection
from yivideo_client.backoff import Backoff

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
QUICK = Backoff(attempts=4, base_seconds=0.001, max_seconds=0.002)


@dataclass
class ScriptedServer:
    """Answers every request with `handler`; `seen` has the requests in order."""

    handler: Handler | None = None
    seen: list[web.Request] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Let the test answer."""
        self.seen.append(request)
        assert self.handler is not None
        return await self.handler(request)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve on loopback for the time of the block."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A server whose handler the test sets."""
    scripted = ScriptedServer()
    async with scripted.running():
        yield scripted


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    """A client of that server, with a key."""
    async with AsyncClient(Connection(server.url, "yiv_secret"), backoff=QUICK) as opened:
        yield opened


def broken_off(request: web.Request) -> web.StreamResponse:
    """Break the connection without another byte."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
