"""Assembles facades into one application: routes, middlewares, CORS, and the headers that every answer carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.body_stream import STALLED_SECONDS
from gateway.http.cors import allow_origins
from gateway.http.errors import error_middleware
from gateway.http.facade import Facade, RouteTable
from gateway.http.observe import add_headers, observe_middleware
from gateway.http.principal import principal_middleware

MAX_PATH_LENGTH = 4096
"""Characters; a file's path has at most 1024 bytes, which is 3072 percent-encoded."""

DRAINING = web.AppKey("draining", asyncio.Event)
"""Set when the server takes no more requests: whoever holds a stream open ends it."""


@web.middleware
async def limit_path(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse addresses that are longer than any of ours."""
    if len(request.rel_url.raw_path) > MAX_PATH_LENGTH:
        raise web.HTTPRequestURITooLong(text="")
    return await handler(request)


Lifespan = Callable[[web.Application], AsyncIterator[None]]
"""Keeps something open while the server runs: an aiohttp `cleanup_ctx`."""


def assemble(
    facades: Iterable[Facade],
    *,
    max_body_bytes: int,
    stalled_seconds: float = 30.0,
    lifespans: Iterable[Lifespan] = (),
) -> web.Application:
    """Make the application. One server carries all facades; each keeps its own policies.

    `lifespans` begin before those of the facades and end after them.
    """
    table = RouteTable(facades)
    app = web.Application(
        client_max_size=max_body_bytes,
        middlewares=[
            observe_middleware(table),
            error_middleware(table),
            limit_path,
            principal_middleware(table),
        ],
    )
    app[DRAINING] = asyncio.Event()
    app[STALLED_SECONDS] = stalled_seconds
    allow_origins(app, [(route, facade.cors) for route, facade in table.install(app)])
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_begin_drain)
    app.cleanup_ctx.extend(lifespans)
    for facade in table.facades:
        app.cleanup_ctx.extend(facade.lifespans)
    return app


async def _begin_drain(app: web.Application) -> None:
    app[DRAINING].set()
