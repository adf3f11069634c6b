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
from gateway.v1.answers import events
from gateway.v1.links import file_url
from results.node_result import FileUrl, plain
from results.states import State
from yivideo.task.v1 import task_pb2

_WRITE_BYTES = 64 * 1024
"""About as much as the transport takes before it makes a writer wait."""

Event = task_pb2.TaskEvent
View = Callable[[Event, FileUrl, dict[str, Any]], events.AnyEvent]
"""Shows one kind of event; the fields that all kinds have come ready made."""


def _moved(state: task_pb2.TaskState.ValueType) -> dict[str, str]:
    return {"status": states.STATUS[state], "state": states.state_word(state)}


def _failure(error: task_pb2.TaskError) -> dict[str, Any]:
    return {"error": f"{error.code}: {error.message}", "error_detail": presenter.error_detail(error)}


def _accepted(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    moved = _moved(event.accepted.state or State.TASK_STATE_PENDING)
    return events.AcceptedEvent(event="accepted", **shared, **moved)


def _started(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    started = event.started
    return events.StartedEvent(
        event="started",
        **shared,
        **_moved(State.TASK_STATE_RUNNING),
        node=started.node,
        replica=started.replica,
    )


def _progress(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    return events.ProgressEvent(event="progress", **shared, **dict(presenter.progress(event.progress)))


def _log(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    return events.LogEvent(event="log", **shared, level=event.log.level, message=event.log.message)


def _heartbeat(_: Event, __: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    return events.HeartbeatEvent(event="heartbeat", **shared)


def _waiting_for_gpu(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    waiting = event.waiting_for_gpu
    return events.WaitingForGpuEvent(
        event="waiting_for_gpu", **shared, position=waiting.position, memory_mib=waiting.memory_mib
    )


def _retrying(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    retrying = event.retrying
    return events.RetryingEvent(
        event="retrying",
        **shared,
        **_moved(retrying.state or State.TASK_STATE_PENDING),
        **_failure(retrying.error),
        next_time=instant(retrying.next_time) if retrying.HasField("next_time") else None,
    )


def _cancelling(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    moved = _moved(State.TASK_STATE_CANCELLING)
    return events.CancellingEvent(event="cancelling", **shared, **moved, reason=event.cancelling.reason)


def _gap(event: Event, url: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    gap = event.gap
    return events.GapEvent(
        event="gap",
        **shared,
        first_missing_sequence=gap.first_missing_sequence,
        last_missing_sequence=gap.last_missing_sequence,
        snapshot=presenter.status(gap.snapshot, url),
    )


def _completed(event: Event, url: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    done = event.completed
    return events.CompletedEvent(
        event="completed",
        **shared,
        **_moved(State.TASK_STATE_SKIPPED if done.skipped else State.TASK_STATE_COMPLETED),
        output=plain(done.output),
        minio_files=presenter.minio_files(done.files, url),
        duration=round(done.duration_seconds, 3),
    )


def _failed(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    failed = event.failed
    return events.FailedEvent(
        event="failed",
        **shared,
        **_moved(State.TASK_STATE_FAILED),
        **_failure(failed.error),
        duration=round(failed.duration_seconds, 3),
    )


def _cancelled(event: Event, _: FileUrl, shared: dict[str, Any]) -> events.AnyEvent:
    cancelled = event.cancelled
    return events.CancelledEvent(
        event="cancelled",
        **shared,
        **_moved(State.TASK_STATE_CANCELLED),
        reason=cancelled.reason,
        duration=round(cancelled.duration_seconds, 3),
    )


VIEWS: dict[str, View] = {
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


def shown(event: Event, url: FileUrl) -> events.AnyEvent | None:
    """Show one event; None for one that clients do not see."""
    view = VIEWS.get(event.WhichOneof("event") or "")
    if view is None:
        return None
    shared = {
        "task_id": event.task_id,
        "attempt": event.attempt,
        "sequence": event.sequence,
        "time": instant(event.time),
    }
    return view(event, url, shared)


def frame(event: Event, url: FileUrl) -> bytes:
    """Write one event; empty for one that clients do not see. Only stored events carry an id to resume from."""
    view = shown(event, url)
    if view is None:
        return b""
    data = view.model_dump(exclude_unset=True)
    return written(view.event, data, str(event.sequence) if event.sequence else "")


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
                    entry = await reader.next()
            except TimeoutError:
                await self.write(PING)
                continue
            except StreamsClosing:
                await self.write(GOODBYE)
                return
            data = b""
            while entry is not None:  # what has come meanwhile goes out in one piece
                data += entry.form(self._base_url, self._frame)
                entry = reader.next_nowait() if len(data) < _WRITE_BYTES else None
            await self.write(data)

    def _frame(self, event: Event) -> bytes:
        return frame(event, self._url)
