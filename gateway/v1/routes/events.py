"""/v1/tasks/{task_id}/events: a task's events as server-sent events, resumable."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from gateway.access import viewer
from gateway.clients.shared_watch import Reader, StreamsClosing
from gateway.http.answer import answer
from gateway.http.openapi import REF
from gateway.http.query import read_query
from gateway.http.route import EVENT_STREAM, JSON, Content, Route
from gateway.http.sse import LAST_EVENT_ID, last_event_id, stream
from gateway.installation import SETTINGS, TASKS, base_url
from gateway.settings import Scope
from gateway.use.watched import WatchedTask
from gateway.v1.answers.events import EventPage, TaskEvent
from gateway.v1.links import links
from gateway.v1.preference import APPLIED_HEADER, wished_wait_seconds
from gateway.v1.requests import EventsQuery
from gateway.v1.task_events import TaskEventWriter, shown
from results.node_result import FileUrl

_MAX_SEQUENCE = 2**31 - 1
_PAGE_EVENTS = 256
_PAGE_BYTES = 1024 * 1024
_READ_SECONDS = 5.0
"""How long a page of what is there already may take."""


def resume_position(request: web.Request) -> int:
    """Return the sequence after which the stream begins; raises InvalidArgument."""
    after = read_query(request, EventsQuery).after
    last = last_event_id(request, _is_sequence)
    return int(last) if last else after


def _is_sequence(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _MAX_SEQUENCE


async def watch_events(request: web.Request) -> web.StreamResponse:
    """Stream a task's events until the terminal one (`completed`, `failed`, `cancelled`).

    `id:` is the event's sequence, only on stored events; send it back as `Last-Event-ID` (browsers do) or as `after` to
    go on behind it. Events that are no longer kept come as one `gap` event with a snapshot of the task. A comment comes
    every 15 s of silence. A reconnect after the terminal event was seen is answered 204, which ends an EventSource.

    With `Accept: application/json` it is one page of the same events instead; `Prefer: wait=N` waits for the first one.
    """
    after = resume_position(request)
    tasks = request.app[TASKS]
    async with tasks.watching(viewer(request), request.match_info["task_id"], after) as watched:
        if _wants_page(request):
            return await _page(request, watched)
        if watched.over:
            return web.Response(status=204)
        with watched.reading() as reader:
            return await _stream(request, reader)


def _wants_page(request: web.Request) -> bool:
    wanted = [kind.partition(";")[0].strip().lower() for kind in request.headers.get("Accept", "").split(",")]
    return JSON in wanted and EVENT_STREAM not in wanted


async def _page(request: web.Request, watched: WatchedTask) -> web.Response:
    """Answer with what there is after a position; when that is nothing, wait for the first event as long as is wished."""
    wait = wished_wait_seconds(request)
    headers = {APPLIED_HEADER: f"wait={wait}"} if wait else {}
    task, after = watched.task, watched.after_sequence
    page = EventPage(task_id=task.spec.task_id, events=[], last_sequence=after, ended=True)
    if watched.over and after == task.last_sequence:
        return answer(page, headers=headers)
    with watched.reading() as reader:
        with suppress(TimeoutError, StreamsClosing):
            async with asyncio.timeout(wait if after == task.last_sequence else max(wait, _READ_SECONDS)):
                page.events = await _gather(reader, links(request))
        page.last_sequence, page.ended = reader.sequence, reader.over
    return answer(page, headers=headers)


async def _gather(reader: Reader, url: FileUrl) -> list[TaskEvent]:
    """Wait for the first event that a client is to see, and take what lies ready behind it, up to the bounds of a page."""
    events: list[TaskEvent] = []
    size = 0
    while not events and (entry := await reader.next()) is not None:
        while entry is not None:
            view = shown(entry.event, url)
            if view is not None and not entry.event.HasField("heartbeat"):
                events.append(TaskEvent(view))
            size += entry.size_bytes
            full = len(events) >= _PAGE_EVENTS or size >= _PAGE_BYTES
            entry = None if full else reader.next_nowait()
    return events


async def _stream(request: web.Request, reader: Reader) -> web.StreamResponse:
    settings = request.app[SETTINGS]

    async def write_all(response: web.StreamResponse) -> None:
        writer = TaskEventWriter(
            response,
            base_url(request),
            ping_seconds=settings.ping_seconds,
            stalled_seconds=settings.stalled_client_seconds,
        )
        await writer.run(reader)

    return await stream(request, write_all)


EVENTS = Content(
    EVENT_STREAM,
    {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": {"$ref": REF.format(model=TaskEvent.__name__)},
        "description": "Server-sent events; each `data:` is a TaskEvent.",
    },
)
"""A stream of events; its schema is that of a page's events, which the same route answers with."""

ROUTES = (
    Route(
        method="GET", path="/v1/tasks/{task_id}/events", handler=watch_events, tag="tasks", scope=Scope.TASKS,
        query=EventsQuery, answers={200: (EVENTS, EventPage), 204: None}, faults=(404,),
        headers={
            LAST_EVENT_ID: "Sequence of the last event seen; the stream goes on behind it.",
            "Prefer": "`wait=N`: a page waits for its first event, at most N seconds.",
        },
    ),
)  # fmt: skip
