"""Real web servers on loopback, names that a test answers itself, and the guarded client between them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from runtime.egress import Egress, EgressPolicy

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Names(AbstractResolver):
    """Answers names from a table; a list of answers is used up one by one (a name that is rebound)."""

    def __init__(self, table: dict[str, list[list[str]]]) -> None:
        self._table = table

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = self._table[host]
        current = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in current
        ]

    async def close(self) -> None:
        pass


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello", headers={"Set-Cookie": "session=1"})


@asynccontextmanager
async def serving(handler: Handler = hello) -> AsyncIterator[int]:
    """A real web server on loopback; gives its port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app, host="127.0.0.1") as server:
        assert server.port is not None
        yield server.port


@asynccontextmanager
async def egress(*allow: str, names: dict[str, list[list[str]]] | None = None) -> AsyncIterator[Egress]:
    made = Egress(EgressPolicy(allow=allow), resolver=Names(names) if names else None)
    try:
        yield made
    finally:
        await made.aclose()


async def fetched(made: Egress, url: str, **options: Any) -> str:
    async with made.request("GET", url, timeout_seconds=5, **options) as response:
        return await response.text()
