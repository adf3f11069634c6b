"""How much an event of a node may hold before it is stored.

A node may be in any language, of any version, and wrong. What passes by (progress, log lines) is cut to its limit, since no work
should be lost for a long text. What the task's result or its next attempt rests on is whole or refused: an output or a checkpoint
past a limit could not be given to anybody.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator

from google.protobuf import struct_pb2

from runtime.errors import NodeMessageInvalid, OutputTooLarge
from runtime.rpc_errors import clip
from runtime.structs import MAX_DEPTH
from yivideo.task.v1 import task_pb2

MAX_OUTPUT_BYTES = 1024 * 1024
MAX_CHECKPOINT_BYTES = 64 * 1024
MAX_FILES = 10_000
_MAX_FILES_BYTES = 1024 * 1024
_MAX_PATH_BYTES = 1024
_MAX_DATA_BYTES = 4096
_MAX_NAME_BYTES = 128
_LONGEST_SECONDS = 1e9
_THREAD_BYTES = 32 * 1024
"""A larger output is looked through in a thread: its values are many."""
_LEVELS = frozenset({"debug", "info", "warning", "error"})
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def cut(event: task_pb2.TaskEvent) -> list[str]:
    """Cut what passes by to its limits, in place; returns what was cut, as paths of fields.

    Raises NodeMessageInvalid for a checkpoint that could not be given to the next attempt.
    """
    match event.WhichOneof("event"):
        case "progress":
            return _cut_progress(event.progress)
        case "log":
            level = event.log.level if event.log.level in _LEVELS else "info"
            return _set(event.log, "log", level=level, message=clip(event.log.message, 2000))
        case "waiting_for_gpu":
            told = event.waiting_for_gpu
            position, memory = max(0, told.position), max(0, told.memory_mib)
            return _set(told, "waiting_for_gpu", position=position, memory_mib=memory)
        case "started":
            began = event.started
            node, replica = clip(began.node, _MAX_NAME_BYTES), clip(began.replica, _MAX_NAME_BYTES)
            return _set(began, "started", node=node, replica=replica)
        case "checkpoint":
            check_struct("checkpoint", event.checkpoint.data, MAX_CHECKPOINT_BYTES)
    return []


def _set(message: object, path: str, /, **values: object) -> list[str]:
    changed = [name for name, value in values.items() if getattr(message, name) != value]
    for name in changed:
        setattr(message, name, values[name])
    return [f"{path}.{name}" for name in changed]


def _cut_progress(progress: task_pb2.Progress) -> list[str]:
    percent = 0.0 if math.isnan(progress.percent) else min(100.0, max(0.0, progress.percent))
    changed = _set(
        progress,
        "progress",
        percent=percent,
        stage=clip(progress.stage, 64),
        message=clip(progress.message, 500),
    )
    if progress.HasField("data"):
        try:
            check_struct("data", progress.data, _MAX_DATA_BYTES)
        except NodeMessageInvalid:
            progress.ClearField("data")
            changed.append("progress.data")
    return changed


async def check_end(task_id: str, event: task_pb2.TaskEvent) -> list[str]:
    """Check an attempt's end, and cut what words it has to their limits, in place; returns what was cut.

    Raises NodeMessageInvalid, OutputTooLarge for a result that cannot be kept.
    """
    match event.WhichOneof("event"):
        case "completed":
            completed = event.completed
            if completed.output.ByteSize() > _THREAD_BYTES:
                await asyncio.to_thread(_check_output, completed.output)
            else:
                _check_output(completed.output)
            _check_files(task_id, completed.files)
            return _cut_seconds(completed, "completed")
        case "failed":
            return _cut_error(event.failed.error) + _cut_seconds(event.failed, "failed")
        case "cancelled":
            reason = clip(event.cancelled.reason, 500)
            return _set(event.cancelled, "cancelled", reason=reason) + _cut_seconds(
                event.cancelled, "cancelled"
            )
        case "handed_back":
            try:
                check_struct("checkpoint", event.handed_back.checkpoint, MAX_CHECKPOINT_BYTES)
            except (
                NodeMessageInvalid
            ):  # the last one that was stored is kept: work that is handed back must not fail
                event.handed_back.ClearField("checkpoint")
                return ["handed_back.checkpoint"]
    return []


def _cut_seconds(
    end: task_pb2.TaskCompleted | task_pb2.TaskFailed | task_pb2.TaskCancelled, path: str
) -> list[str]:
    seconds = end.duration_seconds
    good = math.isfinite(seconds) and 0 <= seconds <= _LONGEST_SECONDS
    return _set(end, path, duration_seconds=seconds if good else 0.0)


def _cut_error(error: task_pb2.TaskError) -> list[str]:
    code, message = error.code, error.message
    if not _CODE.fullmatch(code):
        code, message = "INTERNAL", f"{message} (the node gave the code {clip(code, 64)!r})"
    return _set(error, "failed.error", code=code, message=clip(message), field=clip(error.field, 200))


def _check_output(output: struct_pb2.Struct) -> None:
    try:
        check_struct("output", output, MAX_OUTPUT_BYTES)
    except _TooLarge as error:
        raise OutputTooLarge("the task's output has more than 1 MiB; it should store a file") from error


def _check_files(task_id: str, files: object) -> None:
    listed: list[task_pb2.OutputFile] = list(files)  # type: ignore[call-overload]
    if len(listed) > MAX_FILES or sum(file.ByteSize() for file in listed) > _MAX_FILES_BYTES:
        raise OutputTooLarge(f"the task's end lists more than {MAX_FILES} files, or more than 1 MiB of them")
    for index, file in enumerate(listed):
        inside = file.path.startswith(f"{task_id}/") and len(file.path.encode()) <= _MAX_PATH_BYTES
        if not inside or any(part in ("", ".", "..") for part in file.path.rstrip("/").split("/")):
            raise NodeMessageInvalid(
                f"files/{index}: the path {file.path[:200]!r} does not lie under the task's own {task_id}/"
            )
        if file.size_bytes < 0:
            raise NodeMessageInvalid(f"files/{index}: the size {file.size_bytes} is negative")


class _TooLarge(NodeMessageInvalid):
    """More bytes than its limit."""


def check_struct(name: str, struct: struct_pb2.Struct, max_bytes: int) -> None:
    """Raise NodeMessageInvalid for a Struct that is too large, nested deeper than MAX_DEPTH, or has numbers that JSON lacks."""
    if struct.ByteSize() > max_bytes:
        raise _TooLarge(f"the {name} has more than {max_bytes} bytes")
    level: list[struct_pb2.Value] = list(struct.fields.values())
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(name, value)]
        if not level:
            return
    raise NodeMessageInvalid(f"the {name} is nested deeper than {MAX_DEPTH} objects and lists")


def _inside(name: str, value: struct_pb2.Value) -> Iterator[struct_pb2.Value]:
    match value.WhichOneof("kind"):
        case "struct_value":
            yield from value.struct_value.fields.values()
        case "list_value":
            yield from value.list_value.values
        case "number_value" if not math.isfinite(value.number_value):
            raise NodeMessageInvalid(f"the {name} has a number that JSON does not know: {value.number_value}")
