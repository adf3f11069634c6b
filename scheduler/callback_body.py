"""What a callback says: the origin's body, `{task_id, status, result, minio_files, timestamp}`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from runtime.structs import from_struct
from scheduler.presenter import StoredTask, to_task
from yivideo.task.v1 import task_pb2

_STATUS = {"completed": "completed", "skipped": "completed", "failed": "failed", "cancelled": "cancelled"}
_RESULT_STATUS = {"completed": "SUCCESS", "skipped": "SKIPPED", "failed": "FAILED", "cancelled": "CANCELLED"}


def single_result(stored: StoredTask) -> dict[str, Any]:
    """Return the origin's single node result: what ran, with which (masked) input, and what came of it."""
    task, record = to_task(stored), stored.record
    shown = task.resolved_input if task.HasField("resolved_input") else task.spec.input
    error = None
    if task.HasField("error"):
        error = f"{task.error.code}: {task.error.message}"
    elif record.state == "cancelled":
        error = record.cancel_reason or "cancelled"
    return {
        "task_name": record.name,
        "status": _RESULT_STATUS[record.state],
        "input_params": from_struct(shown),
        "output": from_struct(task.output) if task.HasField("output") else None,
        "error": error,
        "duration": round(record.duration_seconds, 3),
    }


def to_body(stored: StoredTask, *, public_url: str) -> bytes:
    """Return the exact bytes of a callback, the same for every delivery; its timestamp is the task's end.

    `public_url` begins the file URLs; empty: the bare object path is the URL.
    """
    ended = datetime.fromtimestamp(stored.record.end_ms / 1000, UTC)
    task = to_task(stored)
    return orjson.dumps(
        {
            "task_id": stored.record.task_id,
            "status": _STATUS[stored.record.state],
            "result": single_result(stored),
            "minio_files": [_file(item, public_url) for item in task.files],
            "timestamp": ended.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        },
        # Protobuf gives the keys of a map in another order in each process, and a repetition must be the same request.
        option=orjson.OPT_SORT_KEYS,
    )


def _file(item: task_pb2.OutputFile, public_url: str) -> dict[str, Any]:
    url = item.path
    if public_url:
        url = f"{public_url.rstrip('/')}/v1/files/download/{quote(item.path)}?bucket={quote(item.bucket, safe='')}"
    return {"name": item.name, "url": url, "type": item.type, "size": item.size_bytes}
