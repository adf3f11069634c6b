"""A web server for tests that can be told to misbehave: cut bodies, lie about sizes, change content, redirect."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Shelf:
    """What the server serves, and what it was asked."""

    body: bytes = b""
    etag: str = '"v1"'
    cut_after: list[int] = field(default_factory=list)
    """One entry per request that breaks: how many bytes of its body it sends before the connection closes."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the first requests, instead of the body."""
    ranges: bool = True
    redirect_to: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    received: dict[str, bytes] = field(default_factory=dict)
    base: str = ""

    def offsets(self) -> list[int]:
        """Return where each request's range began; 0: it asked for the whole."""
        return [int(request.get("Range", "bytes=0-")[6:-1]) for request in self.requests]

    async def get(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.headers))
        if self.redirect_to:
            raise web.HTTPFound(self.redirect_to)
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        start, status, headers = 0, 200, {"ETag": self.etag} if self.etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if asked and self.ranges and request.headers.get("If-Range") == self.etag:
            start, status = int(asked[1]), 206
            if start >= len(self.body):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.body)}"})
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = len(self.body) - start
        await response.prepare(request)
        if self.cut_after:
            await response.write(self.body[start : start + self.cut_after.pop(0)])
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(self.body[start:])
        return response

    async def put(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.headers))
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        self.received[request.path.lstrip("/")] = await request.read()
        return web.Response()


@asynccontextmanager
async def serving(shelf: Shelf) -> AsyncIterator[Shelf]:
    """Serve a shelf on loopback; `shelf.base` is its address."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/{name:.*}", shelf.get)
    app.router.add_put("/{name:.*}", shelf.put)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    shelf.base = f"http://{host}:{port}"
    try:
        yield shelf
    finally:
        await runner.cleanup()
