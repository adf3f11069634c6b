"""How a task's event is written to clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway import presenter, words
from gateway.sse import written
from yivideo.task.v1 import task_pb2

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
    return written(name, data, str(event.sequence) if event.sequence else "")
