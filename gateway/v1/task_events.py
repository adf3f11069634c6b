"""How a task's event is written to clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gateway.clients.shared_watch import Reader, StreamsClosing
from gateway.http.sse import GOODBYE, PING, RETRY_MILLISECONDS, StreamWriter, written
from gateway.use import states
from gateway.use.instants import instant
from gateway.v1 import presenter
from gateway.v1.links import file_url
from results.node_result import FileUrl, plain
from yivideo.task.v1 import task_pb2

_WRITE_BYTES = 64 * 1024
"""About as much as the transport takes before it makes a writer wait."""

Event = task_pb2.TaskEvent


def _accepted(event: Event, _: FileUrl) -> dict[str, Any]:
    state = event.accepted.state or task_pb2.TASK_STATE_PENDING
    return {"status": states.STATUS[state], "state": states.state_word(state)}


def _started(event: Event, _: FileUrl) -> dict[str, Any]:
    return {"status": "running", "node": event.started.node, "replica": event.started.replica}


def _progress(event: Event, _: FileUrl) -> dict[str, Any]:
    return presenter.progress(event.progress).model_dump(mode="json")


def _log(event: Event, _: FileUrl) -> dict[str, Any]:
    return {"level": event.log.level, "message": event.log.message}


def _heartbeat(_: Event, __: FileUrl) -> dict[str, Any]:
    return {}


def _waiting_for_gpu(event: Event, _: FileUrl) -> dict[str, Any]:
    waiting = event.waiting_for_gpu
    return {"position": waiting.position, "memory_mib": waiting.memory_mib}


def _retrying(event: Event, _: FileUrl) -> dict[str, Any]:
    return {
        "error": presenter.error_detail(event.retrying.error).model_dump(mode="json"),
        "next_time": instant(event.retrying.next_time),
    }


def _cancelling(event: Event, _: FileUrl) -> dict[str, Any]:
    return {"status": "running", "reason": event.cancelling.reason}


def _gap(event: Event, url: FileUrl) -> dict[str, Any]:
    gap = event.gap
    snapshot = presenter.status(gap.snapshot, url).model_dump(mode="json", exclude_unset=True)
    return {
        "first_missing_sequence": gap.first_missing_sequence,
        "last_missing_sequence": gap.last_missing_sequence,
        "snapshot": snapshot,
    }


def _completed(event: Event, url: FileUrl) -> dict[str, Any]:
    done = event.completed
    files = presenter.minio_files(done.files, url)
    return {
        "status": "completed",
        "state": "skipped" if done.skipped else "completed",
        "output": plain(done.output),
        "minio_files": [file.model_dump(mode="json") for file in files],
        "duration": round(done.duration_seconds, 3),
    }


def _failed(event: Event, _: FileUrl) -> dict[str, Any]:
    failed = event.failed
    return {
        "status": "failed",
        "error": f"{failed.error.code}: {failed.error.message}",
        "error_detail": presenter.error_detail(failed.error).model_dump(mode="json"),
        "duration": round(failed.duration_seconds, 3),
    }


def _cancelled(event: Event, _: FileUrl) -> dict[str, Any]:
    cancelled = event.cancelled
    return {
        "status": "cancelled",
        "reason": cancelled.reason,
        "duration": round(cancelled.duration_seconds, 3),
    }


VIEWS: dict[str, Callable[[Event, FileUrl], dict[str, Any]]] = {
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


def shown(event: Event, url: FileUrl) -> dict[str, Any] | None:
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
        "time": instant(event.time),
        **view(event, url),
    }


def frame(event: Event, url: FileUrl) -> bytes:
    """Write one event; empty for one that clients do not see. Only stored events carry an id to resume from."""
    data = shown(event, url)
    if data is None:
        return b""
    return written(data["event"], data, str(event.sequence) if event.sequence else "")


class TaskEventWriter(StreamWriter):
    """Writes one task's events to one client until the terminal one, the drain, or the client's end."""

    def __init__(
        self, response: web.StreamResponse, base_url: str, *, ping_seconds: float, stalled_seconds: float
    ) -> None:
        super().__init__(response, stalled_seconds=stalled_seconds)
        self._base_url = base_url
        self._url = file_url(base_url)
        self._ping_seconds = ping_seconds

    async def run(self, reader: Reader) -> None:
        """Write until the end. Raises TimeoutError for a client that takes nothing, and what the reader raises."""
        await self.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        while not reader.over:
            try:
                async with asyncio.timeout(self._ping_seconds):
                    told = await reader.next()
            except TimeoutError:
                await self.write(PING)
                continue
            except StreamsClosing:
                await self.write(GOODBYE)
                return
            data = b""
            while told is not None:  # what has come meanwhile goes out in one piece
                data += told.form(self._base_url, self._frame)
                told = reader.next_nowait() if len(data) < _WRITE_BYTES else None
            await self.write(data)

    def _frame(self, event: Event) -> bytes:
        return frame(event, self._url)
