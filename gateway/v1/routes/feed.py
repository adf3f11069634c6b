"""/v1/events: the events of many tasks as one resumable stream."""

from __future__ import annotations

import re
from contextlib import aclosing
from functools import partial

from aiohttp import web

from gateway.access import viewer
from gateway.clients.feed_watch import FeedWatch
from gateway.http.application import DRAINING
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.http.sse import LAST_EVENT_ID, EventWriter, last_event_id, stream, written
from gateway.installation import BACKEND, SETTINGS, SLOTS, base_url
from gateway.settings import Scope
from gateway.v1.links import file_url
from gateway.v1.requests import CURSOR_PATTERN, FeedQuery, label_map, permitted_user
from gateway.v1.routes.events import EVENTS
from gateway.v1.task_events import shown
from results.node_result import FileUrl
from runtime.errors import Draining
from yivideo.task.v1 import task_pb2

_CURSOR = re.compile(CURSOR_PATTERN)


async def watch_feed(request: web.Request) -> web.StreamResponse:
    """Stream the events of all your tasks, of a workflow or of those with a label, in the order in which they were stored.

    Each `data:` is what a task's own stream carries. `id:` is a place in this stream: send the last one back as `Last-Event-ID`
    (browsers do) or as `after` to go on behind it; without one the stream begins now. An `id:` without an event moves the place on
    where nothing of yours happened. Where events behind a place are no longer kept (about the last 100,000 of the installation are,
    for seven days), one `events_lost` event comes first: list the tasks to see where they are. It has no end.
    """
    query = read_query(request, FeedQuery)
    after = last_event_id(request, lambda text: bool(_CURSOR.fullmatch(text))) or query.after
    if request.app[DRAINING].is_set():
        raise Draining("this server is shutting down", retry_after_seconds=1)
    wanted = task_pb2.WatchEventsRequest(
        user=permitted_user(viewer(request), query.user),
        workflow_id=query.workflow_id,
        labels=label_map(query.label),
        after_cursor=after,
        kinds=query.kind,
    )
    with request.app[SLOTS].take():
        watch = FeedWatch(request.app[BACKEND], wanted)
        await watch.check()
        return await _stream(request, watch)


async def _stream(request: web.Request, watch: FeedWatch) -> web.StreamResponse:
    settings = request.app[SETTINGS]

    async def write_all(response: web.StreamResponse) -> None:
        writer: EventWriter[task_pb2.WatchEventsResponse] = EventWriter(
            response,
            partial(frame, url=file_url(base_url(request))),
            ping_seconds=settings.ping_seconds,
            stalled_seconds=settings.stalled_client_seconds,
        )
        async with aclosing(watch.events()) as events:
            await writer.run(events, request.app[DRAINING])

    return await stream(request, write_all)


def frame(told: task_pb2.WatchEventsResponse, url: FileUrl) -> bytes:
    """Write one message of the feed. An `id:` alone is no event, but clients remember it (HTML, "server-sent events", 9.2.6)."""
    lost = written("events_lost", {"event": "events_lost"}, told.cursor) if told.gap else b""
    view = shown(told.event, url) if told.HasField("event") else None
    if view is None:
        return lost or f"id: {told.cursor}\n\n".encode()
    return lost + written(view.event, view.model_dump(exclude_unset=True), told.cursor)


ROUTES = (
    Route(
        method="GET", path="/v1/events", handler=watch_feed, tag="tasks", scope=Scope.TASKS, query=FeedQuery,
        answers={200: EVENTS},
        headers={LAST_EVENT_ID: "Id of the last event seen; the stream goes on behind it."},
    ),
)  # fmt: skip
