"""Assignments: what an attempt was told to do, read out of a RunTaskRequest and checked before anything starts."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from nodekit.node import Node, TaskDefinition
from nodekit.schema import parse_input
from nodekit.task_model import TaskInput
from runtime.errors import InvalidArgument, PayloadTooLarge
from runtime.structs import from_struct, to_struct
from yivideo.task.v1 import task_pb2

_TASK_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,127}")
_MAX_INPUT_BYTES = 256 * 1024
_MAX_TIMEOUT_SECONDS = 604_800
_SECRET_WORDS = ("api_key", "token", "password", "secret")


@dataclass(frozen=True)
class Assignment:
    """One attempt's task, typed."""

    spec: task_pb2.TaskSpec
    attempt: int
    fence: int
    definition: TaskDefinition
    request: TaskInput
    checkpoint: dict[str, Any] | None

    @property
    def timeout_seconds(self) -> int:
        """Seconds until the attempt's deadline."""
        return self.spec.timeout_seconds or self.definition.timeout_seconds


def read_request(request: task_pb2.RunTaskRequest) -> task_pb2.RunTaskRequest:
    """Return the request with its defaults filled in. Raises InvalidArgument for values out of their range."""
    request.spec.task_id = request.spec.task_id or f"task-{uuid.uuid4()}"
    request.attempt = request.attempt or 1
    if not _TASK_ID.fullmatch(request.spec.task_id):
        raise InvalidArgument.at("/task_id", "1 to 128 of A-Z a-z 0-9 . _ : -, not beginning with a dot")
    if request.attempt < 0 or request.fence < 0 or request.after_sequence < 0:
        raise InvalidArgument("attempt, fence and after_sequence are not negative")
    return request


def to_assignment(node: Node, request: task_pb2.RunTaskRequest) -> Assignment:
    """Check a request against the node's task types. Raises UnknownTaskType, InvalidInput, InvalidArgument, PayloadTooLarge."""
    spec = request.spec
    definition = node.find(spec.task_name)
    if not 0 <= spec.timeout_seconds <= _MAX_TIMEOUT_SECONDS:
        raise InvalidArgument.at("/timeout_seconds", f"0 to {_MAX_TIMEOUT_SECONDS}")
    if spec.input.ByteSize() > _MAX_INPUT_BYTES:
        raise PayloadTooLarge("an input has at most 256 KiB")
    return Assignment(
        spec=spec,
        attempt=request.attempt,
        fence=request.fence,
        definition=definition,
        request=parse_input(definition.input_model, from_struct(spec.input)),
        checkpoint=from_struct(request.checkpoint) if request.HasField("checkpoint") else None,
    )


def same_payload(one: task_pb2.TaskSpec, other: task_pb2.TaskSpec) -> bool:
    """Whether two specs ask for the same: everything counts that the contract calls payload."""
    return _payload(one) == _payload(other)


def _payload(spec: task_pb2.TaskSpec) -> bytes:
    copy = task_pb2.TaskSpec()
    copy.CopyFrom(spec)
    for field in ("task_id", "traceparent", "tracestate", "when_unavailable", "all_files"):
        copy.ClearField(field)
    return copy.SerializeToString(deterministic=True)


def masked(spec: task_pb2.TaskSpec) -> task_pb2.TaskSpec:
    """Return a copy whose input shows no secrets."""
    copy = task_pb2.TaskSpec()
    copy.CopyFrom(spec)
    copy.input.CopyFrom(to_struct(_mask(from_struct(spec.input))))
    return copy


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if _is_secret(key) else _mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mask(item) for item in value]
    return value


def _is_secret(key: str) -> bool:
    name = key.lower()
    return any(name == word or name.endswith(f"_{word}") for word in _SECRET_WORDS)
