"""Server-sent events: how a task's event is written, and the loop that writes them to one client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from gateway import presenter, words
from gateway.shared_watch import Reader, StreamsClosing
from yivideo.task.v1 import task_pb2

RETRY_MILLISECONDS = 2000
PING = b": ping\n\n"
_WRITE_BYTES = 64 * 1024
"""About as much as the transport takes before it makes a writer wait."""
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


def shown(event: Event, url: presenter.FileUrl) -> dict[str, Any] | None:
    """Show one event; None for one that clients do not see."""
    name = event.WhichOneof("event") or ""
    view = VIEWS.get(name)
    if view is None:
        return None
    return {
        "event": name,
        "task_id": event.task_id,
        "attempt": event.attempt,
        "sequence": event.sequence,
        "time": presenter.instant(event.time),
        **view(event, url),
    }


def frame(event: Event, url: presenter.FileUrl) -> bytes:
    """Write one event; empty for one that clients do not see. Only stored events carry an id to resume from."""
    data = shown(event, url)
    if data is None:
        return b""
    identity = f"id: {event.sequence}\n" if event.sequence else ""
    head = f"{identity}event: {data['event']}\ndata: ".encode()
    return head + orjson.dumps(data, option=orjson.OPT_UTC_Z) + b"\n\n"


class EventWriter:
    """Writes one task's events to one client until the terminal one, the drain, or the client's end."""

    def __init__(
        self, response: web.StreamResponse, base_url: str, *, ping_seconds: float, stalled_seconds: float
    ) -> None:
        self._response = response
        self._base_url = base_url
        self._url = presenter.file_url(base_url)
        self._ping_seconds = ping_seconds
        self._stalled_seconds = stalled_seconds

    async def run(self, reader: Reader) -> None:
        """Write until the end. Raises TimeoutError for a client that takes nothing, and what the reader raises."""
        await self._write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        while not reader.over:
            try:
                async with asyncio.timeout(self._ping_seconds):
                    told = await reader.next()
            except TimeoutError:
                await self._write(PING)
                continue
            except StreamsClosing:
                await self._write(GOODBYE)
                return
            data = b""
            while told is not None:  # what has come meanwhile goes out in one piece
                data += told.form(self._base_url, self._frame)
                told = reader.next_nowait() if len(data) < _WRITE_BYTES else None
            await self._write(data)

    def _frame(self, event: Event) -> bytes:
        return frame(event, self._url)

    async def _write(self, data: bytes) -> None:
        if data:
            async with asyncio.timeout(self._stalled_seconds):
                await self._response.write(data)
