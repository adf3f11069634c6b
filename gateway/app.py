"""Assembles the gateway: routes, middlewares, CORS, the channels behind it, and the server in front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp_cors
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.app_keys import BACKEND, DRAINING, SETTINGS, SLOTS, WATCHES
from gateway.auth import Keyring, Neighbourhood, auth_middleware
from gateway.backend import open_backend
from gateway.http_log import HTTP_LOG
from gateway.observe import REQUEST_ID_HEADER, TRACEPARENT_HEADER, add_headers, observe_middleware
from gateway.openapi import OpenApi
from gateway.preference import APPLIED_HEADER
from gateway.problem import problem_middleware
from gateway.route import RouteTable
from gateway.routes import (
    docs,
    events,
    files,
    gpu_locks,
    health,
    heartbeats,
    lock_events,
    monitoring,
    operations,
    task_types,
    tasks,
    transfers,
)
from gateway.settings import GatewaySection, GatewaySettings
from gateway.shared_watch import SharedWatches
from gateway.streams import StreamSlots
from gateway.upload import READ_BUFFER_BYTES
from runtime import VERSION
from runtime.addresses import join_host_port, split_host_port
from runtime.logs import get_logger

log = get_logger(__name__)

ROUTES = (
    *health.ROUTES,
    *task_types.ROUTES,
    *tasks.ROUTES,
    *events.ROUTES,
    *operations.ROUTES,
    *files.ROUTES,
    *transfers.ROUTES,
    *gpu_locks.ROUTES,
    *lock_events.ROUTES,
    *monitoring.ROUTES,
    *heartbeats.ROUTES,
    *docs.ROUTES,
)

MAX_PATH_LENGTH = 4096
"""Characters; a file's path has at most 1024 bytes, which is 3072 percent-encoded."""

_KEEPALIVE_SECONDS = 75.0
_CORS_SECONDS = 600
_EXPOSED = (
    "Location", "ETag", "Retry-After", REQUEST_ID_HEADER, APPLIED_HEADER, "Content-Range", "Content-Disposition",
    "Accept-Ranges", "Last-Modified",
)  # fmt: skip
_ACCEPTED = (
    "Content-Type", "X-API-Key", "Authorization", "Idempotency-Key", "Prefer", "If-None-Match", "If-Range", "Range",
    "Last-Event-ID", REQUEST_ID_HEADER, TRACEPARENT_HEADER,
)  # fmt: skip


@web.middleware
async def limit_path(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse addresses that are longer than any of ours."""
    if len(request.rel_url.raw_path) > MAX_PATH_LENGTH:
        raise web.HTTPRequestURITooLong(text="")
    return await handler(request)


def create_app(settings: GatewaySettings) -> web.Application:
    """Assemble the application; it opens its channels when it starts."""
    section = settings.gateway
    table = RouteTable(ROUTES)
    neighbourhood = Neighbourhood(section.cors_origins, section.public_url)
    app = web.Application(
        client_max_size=section.max_body_bytes,
        middlewares=[
            observe_middleware(table),
            problem_middleware,
            limit_path,
            auth_middleware(Keyring(section.api_keys), table, neighbourhood),
        ],
    )
    app[SETTINGS] = section
    app[SLOTS] = StreamSlots(section.max_event_streams)
    app[DRAINING] = asyncio.Event()
    app[docs.OPENAPI] = OpenApi(
        table.routes,
        keys_needed=bool(section.api_keys),
        public_url=section.public_url,
        version=VERSION,
    )
    _allow_origins(app, table.install(app), section)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_begin_drain)

    async def backend(app: web.Application) -> AsyncIterator[None]:
        async with open_backend(settings) as opened:
            app[BACKEND] = opened
            app[WATCHES] = SharedWatches(opened)
            try:
                yield
            finally:
                await app[WATCHES].aclose()

    app.cleanup_ctx.append(backend)
    return app


def _allow_origins(app: web.Application, routes: list[web.AbstractRoute], section: GatewaySection) -> None:
    if not section.cors_origins:
        return
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        allow_credentials=False,  # keys travel in headers; there is no cookie to send along
        expose_headers=_EXPOSED,
        allow_headers=_ACCEPTED,
        max_age=_CORS_SECONDS,
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(section.cors_origins, options))
    for route in routes:
        cors.add(route)


async def _begin_drain(app: web.Application) -> None:
    app[DRAINING].set()
    app[WATCHES].close()
    app[BACKEND].submitter.drain()


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[str]:
    """Serve for the time of a block; gives `host:port`. Leaving the block drains: streams end, requests get their grace."""
    runner = web.AppRunner(
        create_app(settings),
        logger=HTTP_LOG,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        read_bufsize=READ_BUFFER_BYTES,
        auto_decompress=False,
        shutdown_timeout=settings.runtime.drain_seconds,
    )
    await runner.setup()
    try:
        host, port = split_host_port(settings.gateway.listen)
        site = web.TCPSite(runner, host, port)
        await site.start()
        address = join_host_port(host, runner.addresses[0][1])
        log.info("serving", address=address, keys=len(settings.gateway.api_keys))
        yield address
    finally:
        await runner.cleanup()
