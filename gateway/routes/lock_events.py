"""Lock events as server-sent events, resumable."""

from __future__ import annotations

import re
from contextlib import aclosing

from aiohttp import web

from gateway.app_keys import BACKEND, DRAINING, SETTINGS, SLOTS
from gateway.intake import read_query
from gateway.lock_watch import LockWatch, frame
from gateway.observe import EVENT_STREAM, STREAMS
from gateway.problem import UNDER_WAY
from gateway.requests import LOCK_EVENT_ID, LockEventsQuery
from gateway.route import Content, Route
from gateway.routes.events import LAST_EVENT_ID
from gateway.routes.gpu_locks import PREFIXES
from gateway.settings import Scope
from gateway.sse import HEADERS, EventWriter
from runtime.errors import Draining, InvalidArgument, YiVideoError
from runtime.logs import get_logger
from yivideo.gpulock.v1.monitor_pb2 import LockEvent

log = get_logger(__name__)


async def watch_lock_events(request: web.Request) -> web.StreamResponse:
    """Stream every change of locks: queued, granted, warning, stop, released, revoked and the others, without end.

    Send the last `id:` back as `Last-Event-ID` (browsers do) or as `after` to go on behind it. Where events are no longer
    kept, one `gap` event comes, and the stream goes on from now. A comment comes every 15 s of silence.
    """
    query = read_query(request, LockEventsQuery)
    last = request.headers.get(LAST_EVENT_ID, "").strip()
    if last and not re.fullmatch(LOCK_EVENT_ID, last):
        raise InvalidArgument(f"{LAST_EVENT_ID} must be the id of an event of this stream")
    after = last or query.after
    if request.app[DRAINING].is_set():
        raise Draining("this server is shutting down", retry_after_seconds=1)
    with request.app[SLOTS].take():
        watch = LockWatch(request.app[BACKEND], query.pool, after)
        await watch.check()
        return await _stream(request, watch)


async def _stream(request: web.Request, watch: LockWatch) -> web.StreamResponse:
    settings = request.app[SETTINGS]
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    request[UNDER_WAY] = response
    writer: EventWriter[LockEvent] = EventWriter(
        response, frame, ping_seconds=settings.ping_seconds, stalled_seconds=settings.stalled_client_seconds
    )
    with STREAMS.track_inprogress():
        try:
            async with aclosing(watch.events()) as events:
                await writer.run(events, request.app[DRAINING])
        except YiVideoError as error:
            log.info("lock event stream ended early", code=error.code, reason=error.message)
    await response.write_eof()
    return response


ROUTES = tuple(
    Route(
        method="GET", path=base + "/gpu-lock/events", handler=watch_lock_events, tag="monitoring",
        scope=Scope.OPERATIONS, query=LockEventsQuery, answers={200: Content(EVENT_STREAM, {"type": "string"})},
        faults=(404,), headers={LAST_EVENT_ID: "Id of the last event seen; the stream goes on behind it."},
    )
    for base in PREFIXES
)  # fmt: skip
