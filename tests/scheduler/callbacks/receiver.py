"""Receivers of callbacks: real HTTP servers that answer as a test tells them."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from scheduler.settings import CallbackSection

SECRETS = tuple("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))


class Receiver:
    """An HTTP server that answers as told and remembers what came."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.changed = asyncio.Condition()
        self.url = ""
        self.before_answer: Callable[[], Awaitable[Any]] | None = None
        self.busy: Counter[str] = Counter()
        """Requests under way, by webhook-id."""
        self.most_at_once = 0
        self.most_of_one = 0
        """The most requests with one webhook-id that were under way at once."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        name = request.headers["webhook-id"]
        self.busy[name] += 1
        self.most_at_once = max(self.most_at_once, self.busy.total())
        self.most_of_one = max(self.most_of_one, self.busy[name])
        try:
            async with self.changed:
                self.requests.append((dict(request.headers), body))
                self.changed.notify_all()
            answer = self.answers.pop(0) if self.answers else 200
            if self.before_answer is not None:
                await self.before_answer()
            return answer if isinstance(answer, web.StreamResponse) else web.Response(status=answer)
        finally:
            self.busy[name] -= 1

    async def wait(self, count: int) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    def ids(self) -> list[str]:
        """The webhook-id of each request."""
        return [headers["webhook-id"] for headers, _ in self.requests]


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    """Run a receiver for the time of the block."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    async with TestServer(app, port=port) as server:
        made.url = str(server.make_url("/hook"))
        yield made


def section(**fields: Any) -> CallbackSection:
    """Settings that may call this machine, with short waits."""
    given = {
        "secrets": SECRETS,
        "allow": ("127.0.0.1",),
        "schedule_seconds": (0.05, 0.05),
        "circuit_failures": 50,
    }
    return CallbackSection(**{**given, **fields})
