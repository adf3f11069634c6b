"""What identifies a task's payload, and what must not be shown of it."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from runtime.structs import from_struct
from yivideo.task.v1 import task_pb2

SECRET_FIELDS = ("api_key", "token", "password", "secret")
MASK = "***"


def fingerprint(spec: task_pb2.TaskSpec) -> str:
    """Return the SHA-256 of everything a client asked for but `task_id` and `traceparent`.

    Made from sorted JSON, because protobuf promises no stable bytes from one library version to the next.
    """
    policy = spec.retry_policy
    plain = {
        "task_name": spec.task_name,
        "input": from_struct(spec.input),
        "user": spec.user,
        "priority": spec.priority,
        "callback_url": spec.callback_url,
        "start_time": spec.start_time.ToNanoseconds() if spec.HasField("start_time") else None,
        "delay_seconds": spec.delay_seconds,
        "timeout_seconds": spec.timeout_seconds,
        "start_deadline": spec.start_deadline.ToNanoseconds() if spec.HasField("start_deadline") else None,
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
