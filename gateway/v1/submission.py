"""From a client's submission to the TaskSpec that the scheduler gets."""

from __future__ import annotations

import hashlib
import re
import uuid

from google.protobuf.struct_pb2 import Struct

from gateway.use.instants import utc_time
from gateway.v1.requests import RetryPolicyBody, SubmitTask
from runtime import context
from runtime.errors import FieldViolation, InvalidArgument
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2

IDEMPOTENCY_HEADER = "Idempotency-Key"

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def task_id_from_key(key: str, user: str) -> str:
    """Return the task id that an Idempotency-Key stands for, scoped to its user; raises InvalidArgument.

    The draft writes the key as a quoted string and most clients do not, so quotes are not part of it.
    """
    bare = key.strip()
    if len(bare) > 1 and bare.startswith('"') and bare.endswith('"'):
        bare = bare[1:-1]
    if not _KEY.fullmatch(bare):
        raise InvalidArgument(f"{IDEMPOTENCY_HEADER} must be 1 to 255 visible ASCII characters")
    digest = hashlib.sha256(f"{user}\0{bare}".encode()).hexdigest()
    return f"task-idem-{digest[:32]}"


def to_spec(
    body: SubmitTask, user: str, idempotency_key: str | None, *, all_files: bool = False
) -> task_pb2.TaskSpec:
    """Write the spec; `all_files`: its inputs may be other users' files.

    A task id is always set, so that a repeated call to the scheduler cannot make a second task.
    """
    task_id = body.task_id
    if task_id is None:
        task_id = task_id_from_key(idempotency_key, user) if idempotency_key else f"task-{uuid.uuid4()}"
    spec = task_pb2.TaskSpec(
        task_id=task_id,
        task_name=body.task_name,
        input=_input(body),
        user=user,
        all_files=all_files,
        priority=body.priority,
        callback_url=body.callback or "",
        callback_format=body.callback_format,
        timeout_seconds=body.timeout_seconds or 0,
        depends_on=body.depends_on,
        workflow_id=body.workflow_id or "",
        labels=body.labels,
        explicit_input=not body.smart_source,
        delay_seconds=body.delay_seconds or 0,
        traceparent=context.traceparent.get(),
        tracestate=context.tracestate.get(),
        when_unavailable=_WHEN_UNAVAILABLE[body.when_unavailable],
    )
    if body.start_time is not None:
        spec.start_time.FromDatetime(utc_time(body.start_time, "/start_time"))
    if body.start_deadline is not None:
        spec.start_deadline.FromDatetime(utc_time(body.start_deadline, "/start_deadline"))
    if body.retry_policy is not None:
        spec.retry_policy.CopyFrom(_policy(body.retry_policy))
    return spec


def _input(body: SubmitTask) -> Struct:
    try:
        return to_struct(body.input_data)
    except InvalidArgument as error:
        fields = [FieldViolation(f"/input_data{field.pointer}", field.detail) for field in error.fields]
        raise InvalidArgument(f"/input_data{error.message}", fields=fields) from None


def _policy(body: RetryPolicyBody) -> task_pb2.RetryPolicy:
    return task_pb2.RetryPolicy(
        max_attempts=body.max_attempts,
        initial_delay_seconds=body.initial_delay_seconds,
        backoff_factor=body.backoff_factor,
        max_delay_seconds=body.max_delay_seconds,
        retryable_codes=body.retryable_codes,
    )


_WHEN_UNAVAILABLE = {
    None: task_pb2.WHEN_UNAVAILABLE_UNSPECIFIED,
    "wait": task_pb2.WHEN_UNAVAILABLE_WAIT,
    "refuse": task_pb2.WHEN_UNAVAILABLE_REFUSE,
}

_SPEC_NAMES = {"input": "input_data", "callback_url": "callback"}


def in_body_terms(error: InvalidArgument) -> InvalidArgument:
    """Return the scheduler's refusal with pointers, and their mentions in the text, as the client's body names them."""
    message = error.message
    fields = []
    for field in error.fields:
        pointer = _in_body(field.pointer)
        message = message.replace(f"{field.pointer}:", f"{pointer}:", 1)
        fields.append(FieldViolation(pointer, field.detail))
    return type(error)(message, fields=fields)


def _in_body(pointer: str) -> str:
    first, slash, rest = pointer.removeprefix("/").partition("/")
    return f"/{_SPEC_NAMES.get(first, first)}{slash}{rest}"
