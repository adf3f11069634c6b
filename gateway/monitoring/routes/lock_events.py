"""Lock events as server-sent events, resumable."""

from __future__ import annotations

import re
from contextlib import aclosing

from aiohttp import web

from gateway.clients.lock_watch import LockWatch
from gateway.http.application import DRAINING
from gateway.http.query import read_query
from gateway.http.route import EVENT_STREAM, Content, Route
from gateway.http.sse import LAST_EVENT_ID, EventWriter, last_event_id, stream
from gateway.installation import BACKEND, SETTINGS, SLOTS
from gateway.monitoring.lock_event_presenter import frame
from gateway.monitoring.requests import LOCK_EVENT_ID, LockEventsQuery
from gateway.monitoring.routes.locks import PREFIXES
from gateway.settings import Scope
from runtime.errors import Draining
from yivideo.gpulock.v1.monitor_pb2 import LockEvent

_EVENT_ID = re.compile(LOCK_EVENT_ID)


async def watch_lock_events(request: web.Request) -> web.StreamResponse:
    """Stream every change of locks: queued, granted, warning, stop, released, revoked and the others, without end.

    Send the last `id:` back as `Last-Event-ID` (browsers do) or as `after` to go on behind it. Where events are no longer
    kept, one `gap` event comes, and the stream goes on from now. A comment comes every 15 s of silence.
    """
    query = read_query(request, LockEventsQuery)
    after = last_event_id(request, lambda text: bool(_EVENT_ID.fullmatch(text))) or query.after
    if request.app[DRAINING].is_set():
        raise Draining("this server is shutting down", retry_after_seconds=1)
    with request.app[SLOTS].take():
        watch = LockWatch(request.app[BACKEND], query.pool, after)
        await watch.check()
        return await _stream(request, watch)


async def _stream(request: web.Request, watch: LockWatch) -> web.StreamResponse:
    settings = request.app[SETTINGS]

    async def write_all(response: web.StreamResponse) -> None:
        writer: EventWriter[LockEvent] = EventWriter(
            response,
            frame,
            ping_seconds=settings.ping_seconds,
            stalled_seconds=settings.stalled_client_seconds,
        )
        async with aclosing(watch.events()) as events:
            await writer.run(events, request.app[DRAINING])

    return await stream(request, write_all)


ROUTES = tuple(
    Route(
        method="GET", path=base + "/gpu-lock/events", handler=watch_lock_events, tag="monitoring",
        scope=Scope.OPERATIONS, query=LockEventsQuery, answers={200: Content(EVENT_STREAM, {"type": "string"})},
        faults=(404,), headers={LAST_EVENT_ID: "Id of the last event seen; the stream goes on behind it."},
    )
    for base in PREFIXES
)  # fmt: skip
