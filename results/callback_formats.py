"""The forms of a callback's body, by the name that `TaskSpec.callback_format` asks for.

A new form is a function here and an entry in FORMATS: submits accept it and deliveries send it. What REST says of the field is
prose in `gateway/v1/requests.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any

from results.node_result import FileUrl, node_result, stored_files
from results.states import STATUS
from yivideo.task.v1 import task_pb2

CallbackFormat = Callable[[task_pb2.Task, FileUrl], dict[str, Any]]
"""Makes the body of an ended task from JSON values; the same task must always give the same body."""

DEFAULT_FORMAT = "yivideo"


def yivideo_body(task: task_pb2.Task, url: FileUrl) -> dict[str, Any]:
    """Return the first YiVideo's body, `{task_id, status, result, minio_files, timestamp}`; the time is the task's end."""
    ended = task.end_time.ToDatetime(tzinfo=UTC)
    return {
        "task_id": task.spec.task_id,
        "status": STATUS[task.state],
        "result": node_result(task),
        "minio_files": stored_files(task.files, url),
        "timestamp": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


FORMATS: dict[str, CallbackFormat] = {DEFAULT_FORMAT: yivideo_body}


def callback_content(task: task_pb2.Task, url: FileUrl) -> dict[str, Any]:
    """Return the body in the form that the task asked for. Raises KeyError for one that no submit would have accepted."""
    return FORMATS[task.spec.callback_format or DEFAULT_FORMAT](task, url)
