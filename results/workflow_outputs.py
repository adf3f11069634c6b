"""What comes out of a workflow, by name: its `result` says where each value is, and its tasks' outputs have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from results.node_result import FileUrl, plain, stored_files
from yivideo.task.v1 import task_pb2

_REFERENCE = re.compile(
    r"\$\{\{\s*tasks\.(?P<key>[A-Za-z0-9_-]{1,64})\.output\.(?P<path>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\s*\}\}"
)


@dataclass(frozen=True, slots=True)
class OutputReference:
    """Where a value is."""

    key: str
    """What the workflow calls the task."""
    path: tuple[str, ...]
    """The field of its output, from the outside in."""


def read_reference(text: str) -> OutputReference | None:
    """Read `${{ tasks.<key>.output.<field> }}`; None for what is not one."""
    found = _REFERENCE.fullmatch(text)
    return OutputReference(found["key"], tuple(found["path"].split("."))) if found else None


def workflow_outputs(
    result: Mapping[str, str], by_key: Mapping[str, task_pb2.Task], tasks: list[task_pb2.Task], url: FileUrl
) -> dict[str, Any]:
    """Return `{value, minio_files}` by name; None where the task is not there, has not ended, or has no such value.

    `minio_files` are the stored files that the value names: itself, those in it, or those below it where it is a folder.
    """
    files = [file for task in tasks for file in task.files]
    shown: dict[str, Any] = {}
    for name, text in sorted(result.items()):
        value = _value(read_reference(text), by_key)
        named = set(_texts(value))
        shown[name] = None
        if value is not None:
            mine = [file for file in files if _is_named(file.path, named)]
            shown[name] = {"value": value, "minio_files": stored_files(mine, url)}
    return shown


def _value(reference: OutputReference | None, by_key: Mapping[str, task_pb2.Task]) -> Any:
    task = by_key.get(reference.key) if reference else None
    if reference is None or task is None or not task.HasField("output"):
        return None
    value: Any = plain(task.output)
    for part in reference.path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and len(part) < 8 and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _is_named(path: str, named: set[str]) -> bool:
    """Whether a file, or a folder that it lies in (below its task's own), is among the names."""
    parts = path.split("/")
    folders = ("/".join(parts[:count]) for count in range(2, len(parts)))
    return path in named or any(folder in named or f"{folder}/" in named for folder in folders)
