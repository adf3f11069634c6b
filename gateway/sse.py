"""Server-sent events: how a task's event is written, and the loop that writes them to one client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from aiohttp import web

from gateway import presenter, words
from gateway.watch import TERMINAL_EVENTS
from yivideo.task.v1 import task_pb2

RETRY_MILLISECONDS = 2000
PING = b": ping\n\n"
GOODBYE = b": this server is shutting down; reconnect with your last event id\n\n"

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

Event = task_pb2.TaskEvent


def _accepted(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    state = event.accepted.state or task_pb2.TASK_STATE_PENDING
    return {"status": words.STATUS[state], "state": words.state_word(state)}


def _started(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    return {"status": "running", "node": event.started.node, "replica": event.started.replica}


def _progress(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    return presenter.progress(event.progress).model_dump(mode="json")


def _log(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    return {"level": event.log.level, "message": event.log.message}


def _heartbeat(_: Event, __: presenter.FileUrl) -> dict[str, Any]:
    return {}


def _waiting_for_gpu(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    waiting = event.waiting_for_gpu
    return {"position": waiting.position, "memory_mib": waiting.memory_mib}


def _retrying(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    return {
        "error": presenter.error_detail(event.retrying.error).model_dump(mode="json"),
        "next_time": presenter.instant(event.retrying.next_time),
    }


def _cancelling(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    return {"status": "running", "reason": event.cancelling.reason}


def _gap(event: Event, url: presenter.FileUrl) -> dict[str, Any]:
    gap = event.gap
    snapshot = presenter.status(gap.snapshot, url).model_dump(mode="json", exclude_unset=True)
    return {
        "first_missing_sequence": gap.first_missing_sequence,
        "last_missing_sequence": gap.last_missing_sequence,
        "snapshot": snapshot,
    }


def _completed(event: Event, url: presenter.FileUrl) -> dict[str, Any]:
    done = event.completed
    files = presenter.minio_files(done.files, url)
    return {
        "status": "completed",
        "state": "skipped" if done.skipped else "completed",
        "output": presenter.plain(done.output),
        "minio_files": [file.model_dump(mode="json") for file in files],
        "duration": round(done.duration_seconds, 3),
    }


def _failed(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    failed = event.failed
    return {
        "status": "failed",
        "error": f"{failed.error.code}: {failed.error.message}",
        "error_detail": presenter.error_detail(failed.error).model_dump(mode="json"),
        "duration": round(failed.duration_seconds, 3),
    }


def _cancelled(event: Event, _: presenter.FileUrl) -> dict[str, Any]:
    cancelled = event.cancelled
    return {
        "status": "cancelled",
        "reason": cancelled.reason,
        "duration": round(cancelled.duration_seconds, 3),
    }


VIEWS: dict[str, Callable[[Event, presenter.FileUrl], dict[str, Any]]] = {
    "accepted": _accepted,
    "started": _started,
    "progress": _progress,
    "log": _log,
    "heartbeat": _heartbeat,
    "waiting_for_gpu": _waiting_for_gpu,
    "retrying": _retrying,
    "cancelling": _cancelling,
    "gap": _gap,
    "completed": _completed,
    "failed": _failed,
    "cancelled": _cancelled,
}
"""What clients see, by event; what is missing here (checkpoint, handed_back) is between scheduler and node."""


def frame(event: Event, url: presenter.FileUrl) -> bytes:
    """Write one event; empty for one that clients do not see. Only stored events carry an id to resume from."""
    name = event.WhichOneof("event") or ""
    view = VIEWS.get(name)
    if view is None:
        return b""
    data = {
        "event": name,
        "task_id": event.task_id,
        "attempt": event.attempt,
        "sequence": event.sequence,
        "time": presenter.instant(event.time),
        **view(event, url),
    }
    identity = f"id: {event.sequence}\n" if event.sequence else ""
    return f"{identity}event: {name}\ndata: ".encode() + orjson.dumps(data, option=orjson.OPT_UTC_Z) + b"\n\n"


class EventWriter:
    """Writes one task's events to one client until the terminal one, the drain, or the client's end."""

    def __init__(
        self,
        response: web.StreamResponse,
        url: presenter.FileUrl,
        *,
        ping_seconds: float,
        stalled_seconds: float,
    ) -> None:
        self._response = response
        self._url = url
        self._ping_seconds = ping_seconds
        self._stalled_seconds = stalled_seconds

    async def run(self, events: AsyncIterator[Event], draining: asyncio.Event) -> None:
        """Write until the end. Raises TimeoutError for a client that takes nothing, and what `events` raises."""
        await self._write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        upcoming = asyncio.ensure_future(anext(events, None))
        drained = asyncio.ensure_future(draining.wait())
        try:
            while True:
                await asyncio.wait(
                    (upcoming, drained), timeout=self._ping_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if upcoming.done():
                    event = upcoming.result()
                    if event is None:
                        return
                    await self._write(frame(event, self._url))
                    if event.WhichOneof("event") in TERMINAL_EVENTS:
                        return
                    upcoming = asyncio.ensure_future(anext(events, None))
                elif drained.done():
                    await self._write(GOODBYE)
                    return
                else:
                    await self._write(PING)
        finally:
            upcoming.cancel()
            drained.cancel()
            await asyncio.gather(upcoming, drained, return_exceptions=True)

    async def _write(self, data: bytes) -> None:
        if data:
            async with asyncio.timeout(self._stalled_seconds):
                await self._response.write(data)
