"""Between a client's words, which are those of REST, and the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from results.node_result import error_detail, node_result, plain, stored_files
from results.states import STATUS, TERMINAL_EVENTS, state_word
from runtime.structs import to_struct
from yivideo.file.v1 import file_pb2
from yivideo.task.v1 import task_pb2
from yivideo_client.models import Event, StoredFile, Task, TaskType

_AS_IT_IS = (
    "priority",
    "callback_format",
    "timeout_seconds",
    "workflow_id",
    "delay_seconds",
    "depends_on",
    "labels",
)
_INSTANTS = ("start_time", "start_deadline")
_WHEN = {"wait": task_pb2.WHEN_UNAVAILABLE_WAIT, "refuse": task_pb2.WHEN_UNAVAILABLE_REFUSE}
_OURS = frozenset(
    {
        "accepted",
        "started",
        "progress",
        "log",
        "heartbeat",
        "waiting_for_gpu",
        "retrying",
        "cancelling",
        "gap",
    }
)


def to_spec(body: Mapping[str, Any], caller: file_pb2.Caller) -> task_pb2.TaskSpec:
    """Write a submission, whose fields are those of POST /v1/tasks. Raises TypeError for one that there is not."""
    given = dict(body)
    spec = task_pb2.TaskSpec(
        task_id=given.pop("task_id"),
        task_name=given.pop("task_name"),
        input=to_struct(given.pop("input_data")),
        user=caller.user,
        all_files=caller.all_files,
        callback_url=given.pop("callback", None) or "",
        explicit_input=not given.pop("smart_source", True),
        when_unavailable=_WHEN.get(given.pop("when_unavailable", None) or "", 0),  # type: ignore[arg-type]
        retry_policy=task_pb2.RetryPolicy(**policy) if (policy := given.pop("retry_policy", None)) else None,
        **{name: value for name in _AS_IT_IS if (value := given.pop(name, None)) is not None},
    )  # fmt: skip
    for name in _INSTANTS:
        if text := given.pop(name, None):
            getattr(spec, name).FromJsonString(text)
    if given:
        raise TypeError(f"a task has no {', '.join(sorted(given))}")
    return spec


def to_task(task: task_pb2.Task) -> Task:
    """Return a task as REST answers it."""
    body: dict[str, Any] = {
        "task_id": task.spec.task_id,
        "task_name": task.spec.task_name,
        "status": STATUS[task.state],
        "state": state_word(task.state),
        "message": task.error.message or task.waiting_reason or task.progress.message,
        "result": node_result(task),
        "minio_files": stored_files(task.files, stored_at),
        "labels": dict(task.spec.labels),
        "attempt": task.attempt,
    }
    if task.HasField("progress"):
        body["progress"] = _progress(task.progress)
    if task.reuse.hit:
        body["reuse_info"] = {"reuse_hit": True, "task_name": task.reuse.task_name}
    return Task.from_answer(body)


def stored_at(bucket: str, path: str) -> str:
    """Return how a stored file is named where nobody makes links to it."""
    return f"s3://{bucket}/{path}"


def to_event(event: task_pb2.TaskEvent) -> Event | None:
    """Return an event as the streams of REST show it; None for one that is not for clients."""
    name = event.WhichOneof("event") or ""
    if name not in _OURS and name not in TERMINAL_EVENTS:
        return None
    data: dict[str, Any] = {
        "event": name, "task_id": event.task_id, "attempt": event.attempt, "sequence": event.sequence,
        "time": event.time.ToJsonString(),
    }  # fmt: skip
    match name:
        case "progress":
            data |= _progress(event.progress)
        case "started":
            data |= {"node": event.started.node, "replica": event.started.replica}
        case "log":
            data |= {"level": event.log.level, "message": event.log.message}
        case "waiting_for_gpu":
            data |= {
                "position": event.waiting_for_gpu.position,
                "memory_mib": event.waiting_for_gpu.memory_mib,
            }
        case "retrying" | "failed":
            error = event.retrying.error if name == "retrying" else event.failed.error
            data |= {"error": f"{error.code}: {error.message}", "error_detail": error_detail(error)}
        case "cancelling" | "cancelled":
            data |= {"reason": event.cancelling.reason or event.cancelled.reason}
        case "gap":
            data |= {
                "first_missing_sequence": event.gap.first_missing_sequence,
                "last_missing_sequence": event.gap.last_missing_sequence,
            }
    return Event(name, event.sequence, data)


def to_type(kind: task_pb2.TaskType) -> TaskType:
    """Return a task type."""
    return TaskType.from_answer(
        {
            "name": kind.name,
            "node": kind.node,
            "description": kind.description,
            "input_schema": orjson.loads(kind.input_schema or b"{}"),
            "output_schema": orjson.loads(kind.output_schema or b"{}"),
            "media_fields": list(kind.media_fields),
            "available": kind.available,
        }
    )


def to_report(report: task_pb2.DeleteTaskResponse) -> dict[str, Any]:
    """Return what a deletion did."""
    return {"status": report.status, "results": [to_deleted(one) for one in report.results]}


def to_deleted(resource: task_pb2.DeletedResource) -> dict[str, Any]:
    """Return what became of one resource."""
    return {"resource": resource.resource, "status": resource.status, "message": resource.message}


def to_file(file: file_pb2.File) -> StoredFile:
    """Return a stored file."""
    return StoredFile(
        path=file.path,
        size=file.size_bytes,
        name=file.path.rpartition("/")[2],
        bucket=file.bucket,
        sha256=file.sha256,
        etag=file.etag,
        content_type=file.content_type,
    )


def _progress(progress: task_pb2.Progress) -> dict[str, Any]:
    return {
        "percent": progress.percent, "stage": progress.stage, "message": progress.message, "data": plain(progress.data),
    }  # fmt: skip
