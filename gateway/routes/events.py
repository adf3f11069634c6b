"""/v1/tasks/{task_id}/events: a task's events as server-sent events, resumable."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web

from gateway import words
from gateway.app_keys import BACKEND, DRAINING, SETTINGS, SLOTS, links
from gateway.intake import read_query
from gateway.observe import EVENT_STREAM, STREAMS
from gateway.problem import UNDER_WAY
from gateway.requests import EventsQuery
from gateway.route import Content, Route
from gateway.settings import Scope
from gateway.sse import HEADERS, EventWriter
from gateway.task_events import frame
from gateway.tasks import own_task
from gateway.watch import TERMINAL_EVENTS, TaskWatch
from runtime.errors import Draining, InvalidArgument, YiVideoError
from runtime.logs import get_logger
from yivideo.task.v1.task_pb2 import TaskEvent

log = get_logger(__name__)

LAST_EVENT_ID = "Last-Event-ID"
_MAX_SEQUENCE = 2**31 - 1


def resume_position(request: web.Request) -> int:
    """Return the sequence after which the stream begins; raises InvalidArgument."""
    after = read_query(request, EventsQuery).after
    last = request.headers.get(LAST_EVENT_ID, "").strip()
    if not last:
        return after
    if not (last.isascii() and last.isdecimal() and len(last) <= 10 and int(last) <= _MAX_SEQUENCE):
        raise InvalidArgument(f"{LAST_EVENT_ID} must be the id of an event of this stream")
    return int(last)


async def watch_events(request: web.Request) -> web.StreamResponse:
    """Stream a task's events until the terminal one (`completed`, `failed`, `cancelled`).

    `id:` is the event's sequence, only on stored events; send it back as `Last-Event-ID` (browsers do) or as `after` to
    go on behind it. Events that are no longer kept come as one `gap` event with a snapshot of the task. A comment comes
    every 15 s of silence. A reconnect after the terminal event was seen is answered 204, which ends an EventSource.
    """
    after = resume_position(request)
    if request.app[DRAINING].is_set():
        raise Draining("this server is shutting down", retry_after_seconds=1)
    with request.app[SLOTS].take():
        task = await own_task(request)
        if task.state in words.TERMINAL and after >= task.last_sequence:
            return web.Response(status=204)
        return await _stream(request, TaskWatch(request.app[BACKEND], task.spec.task_id, after))


async def _stream(request: web.Request, watch: TaskWatch) -> web.StreamResponse:
    settings = request.app[SETTINGS]
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    request[UNDER_WAY] = response
    url = links(request)
    writer: EventWriter[TaskEvent] = EventWriter(
        response,
        lambda event: frame(event, url),
        is_last=lambda event: event.WhichOneof("event") in TERMINAL_EVENTS,
        ping_seconds=settings.ping_seconds,
        stalled_seconds=settings.stalled_client_seconds,
    )
    with STREAMS.track_inprogress():
        try:
            async with aclosing(watch.events()) as events:
                await writer.run(events, request.app[DRAINING])
        except YiVideoError as error:
            # The client comes back with its last event id and is then told in full, by status and body.
            log.info("event stream ended early", code=error.code, reason=error.message)
    await response.write_eof()
    return response


ROUTES = (
    Route(
        method="GET", path="/v1/tasks/{task_id}/events", handler=watch_events, tag="tasks", scope=Scope.TASKS,
        query=EventsQuery, answers={200: Content(EVENT_STREAM, {"type": "string"}), 204: None}, faults=(404,),
        headers={LAST_EVENT_ID: "Sequence of the last event seen; the stream goes on behind it."},
    ),
)  # fmt: skip
