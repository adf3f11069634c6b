"""The single node result and the list of stored outputs: one form for status answers, submit answers and callbacks.

The values are plain JSON values, names in order: protobuf keeps no order of a map, and the same task must give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.struct_pb2 import Struct

from results.states import RESULT_STATUS, State
from runtime.structs import from_struct
from yivideo.task.v1 import task_pb2

FileUrl = Callable[[str, str], str]
"""Makes the URL of a file from its bucket and path."""


def node_result(task: task_pb2.Task) -> dict[str, Any] | None:
    """Return `{task_name, status, input_params, output, error, duration}`, of a failed task also `error_detail` and `details`.

    None until the task has ended. `input_params` is the input as it was used, `duration` counts the last attempt's seconds.
    """
    status = RESULT_STATUS.get(task.state)
    if status is None:
        return None
    used = task.resolved_input if task.HasField("resolved_input") else task.spec.input
    result = {
        "task_name": task.spec.task_name,
        "status": status,
        "input_params": plain(used),
        "output": plain(task.output) if task.HasField("output") else None,
        "error": error_text(task),
        "duration": round(task.duration_seconds, 3),
    }
    if task.state == State.TASK_STATE_FAILED:
        result["error_detail"] = error_detail(task.error)
        result["details"] = failure_details(task)
    return result


def error_text(task: task_pb2.Task) -> str | None:
    """Say why a task has no output: a failure's code and message, or the reason that was given for a cancel."""
    if task.state == State.TASK_STATE_FAILED:
        return f"{task.error.code}: {task.error.message}"
    if task.state == State.TASK_STATE_CANCELLED:
        return task.cancel_reason or "cancelled"
    return None


def error_detail(error: task_pb2.TaskError) -> dict[str, Any]:
    """Return a failure as `{code, message, field, retryable}`; the field is a pointer into the client's body."""
    return {
        "code": error.code,
        "message": error.message,
        "field": f"/input_data{error.field}" if error.field else "",
        "retryable": error.retryable,
    }


def failure_details(task: task_pb2.Task) -> dict[str, Any]:
    """Return what is known about a failure beside its text: `{code, field, retryable, attempt, worker_lost_count, replica}`."""
    return {
        "code": task.error.code,
        "field": task.error.field,
        "retryable": task.error.retryable,
        "attempt": task.attempt,
        "worker_lost_count": task.worker_lost_count,
        "replica": task.replica,
    }


def stored_files(files: Iterable[task_pb2.OutputFile], url: FileUrl) -> list[dict[str, Any]]:
    """Return the items of `minio_files`: `{name, url, type, size, path, bucket, sha256}`, size in bytes."""
    return [
        {
            "name": file.name,
            "url": url(file.bucket, file.path),
            "type": file.type or "unknown",
            "size": file.size_bytes,
            "path": file.path,
            "bucket": file.bucket,
            "sha256": file.sha256,
        }
        for file in files
    ]


def plain(struct: Struct) -> dict[str, Any]:
    """Return a Struct's fields in name order."""
    made: dict[str, Any] = _ordered(from_struct(struct))
    return made


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
