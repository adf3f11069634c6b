"""What identifies a task's payload, and what must not be shown of it."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from google.protobuf import timestamp_pb2

from results.callback_formats import DEFAULT_FORMAT
from runtime.structs import from_struct
from yivideo.task.v1 import task_pb2

SECRET_FIELDS = ("api_key", "token", "password", "secret")
MASK = "***"


def _nanoseconds(stamp: timestamp_pb2.Timestamp) -> int | str:
    """Return any stamp as one number, those that are no times too; as text where JSON's integers end (the year 2262)."""
    total = stamp.seconds * 10**9 + stamp.nanos
    return total if -(2**63) <= total < 2**63 else str(total)


def fingerprint(spec: task_pb2.TaskSpec) -> str:
    """Return the SHA-256 of everything a client asked for but `task_id`, the trace and `all_files`.

    Made from sorted JSON, because protobuf promises no stable bytes from one library version to the next.
    """
    policy = spec.retry_policy
    plain = {
        "task_name": spec.task_name,
        "input": from_struct(spec.input),
        "user": spec.user,
        "priority": spec.priority,
        "callback_url": spec.callback_url,
        "start_time": _nanoseconds(spec.start_time) if spec.HasField("start_time") else None,
        "delay_seconds": spec.delay_seconds,
        "timeout_seconds": spec.timeout_seconds,
        "start_deadline": _nanoseconds(spec.start_deadline) if spec.HasField("start_deadline") else None,
        "retry_policy": [
            policy.max_attempts,
            policy.initial_delay_seconds,
            policy.backoff_factor,
            policy.max_delay_seconds,
            list(policy.retryable_codes),
        ],
        "depends_on": list(spec.depends_on),
        "workflow_id": spec.workflow_id,
        "labels": dict(spec.labels),
    }
    if spec.callback_format not in (
        "",
        DEFAULT_FORMAT,
    ):  # tasks that were stored before there was a choice keep their print
        plain["callback_format"] = spec.callback_format
    if spec.explicit_input:
        plain["explicit_input"] = True
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()


def masked(value: Any) -> Any:
    """Return a copy of plain JSON values with every secret field's value replaced."""
    if isinstance(value, dict):
        return {
            key: MASK if item is not None and is_secret(key) else masked(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


def is_secret(name: str) -> bool:
    """Whether a field of this name is masked: `api_key`, `hf_token`, `password`, `client_secret`; not `max_tokens`."""
    lowered = name.lower()
    return any(lowered == word or lowered.endswith("_" + word) for word in SECRET_FIELDS)
