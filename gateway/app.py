"""Assembles the gateway: its facades, the clients and use cases behind them, and the server in front."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from gateway import monitoring, openai, v1
from gateway.clients.backend import open_backend
from gateway.clients.revocations import Revocations
from gateway.clients.shared_watch import SharedWatches
from gateway.http.application import assemble
from gateway.http.body_stream import READ_BUFFER_BYTES
from gateway.http.facade import Facade
from gateway.http.server_log import HTTP_LOG
from gateway.installation import BACKEND, BATCHES, KEY_STATE, SETTINGS, SLOTS, TASKS, WORKFLOWS
from gateway.key_state import KeyState
from gateway.settings import GatewaySettings
from gateway.use.batch import BatchPlaces
from gateway.use.slots import StreamSlots
from gateway.use.tasks import Tasks
from gateway.use.workflows import Workflows
from runtime.addresses import join_host_port, split_host_port
from runtime.logs import get_logger
from runtime.settings import cannot_listen

log = get_logger(__name__)

_KEEPALIVE_SECONDS = 75.0


def facades(settings: GatewaySettings) -> tuple[Facade, ...]:
    """Return the REST surfaces that are served; a new one is one more line here."""
    watched = monitoring.facade(settings)
    return (v1.facade(settings, described=watched.routes), watched, openai.facade(settings))


def create_app(settings: GatewaySettings, surfaces: Sequence[Facade] | None = None) -> web.Application:
    """Assemble the application, of other facades too; it opens its channels when it starts."""
    section = settings.gateway

    async def behind(app: web.Application) -> AsyncIterator[None]:
        async with open_backend(settings) as backend:
            watches = SharedWatches(backend)
            app[BACKEND] = backend
            app[TASKS] = Tasks(backend, watches, app[SLOTS])
            app[WORKFLOWS] = Workflows(backend, app[SLOTS])
            try:
                async with app[KEY_STATE].following(Revocations(backend)):
                    yield
            finally:
                await watches.aclose()

    app = assemble(
        facades(settings) if surfaces is None else surfaces,
        max_body_bytes=section.max_body_bytes,
        stalled_seconds=section.stalled_client_seconds,
        lifespans=(behind,),
    )
    app[SETTINGS] = section
    app[KEY_STATE] = KeyState(section)
    app[BATCHES] = BatchPlaces()
    app[SLOTS] = StreamSlots(section.max_event_streams)
    app.on_shutdown.append(_drain)
    return app


async def _drain(app: web.Application) -> None:
    app[TASKS].drain()
    app[WORKFLOWS].drain()


@asynccontextmanager
async def serving(settings: GatewaySettings, surfaces: Sequence[Facade] | None = None) -> AsyncIterator[str]:
    """Serve for the time of a block; gives `host:port`. Leaving the block drains: streams end, requests get their grace."""
    runner = web.AppRunner(
        create_app(settings, surfaces),
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
        try:
            await site.start()
        except OSError as error:
            raise cannot_listen("gateway.listen", settings.gateway.listen, error) from None
        address = join_host_port(host, runner.addresses[0][1])
        log.info("serving", address=address, keys=len(settings.gateway.api_keys))
        yield address
    finally:
        await runner.cleanup()
