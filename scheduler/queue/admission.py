"""Admission: what a task must be before anything of it is written. Knows no Redis; the limits are checked by the script."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from results.callback_formats import FORMATS
from runtime import context as ids
from runtime.egress import EgressPolicy
from runtime.errors import (
    AddressRefused,
    BadReference,
    FieldViolation,
    InvalidArgument,
    NotConfigured,
    PayloadTooLarge,
)
from runtime.structs import from_struct
from scheduler.queue.bindings import Source, Want
from scheduler.queue.input_check import check_input
from scheduler.queue.payload import fingerprint
from scheduler.queue.references import find_references, to_pointer
from scheduler.queue.smart_source import missing_fields
from scheduler.queue.task_types import KnownType, TaskTypeCatalog
from scheduler.settings import LimitsSection
from yivideo.task.v1 import task_pb2

ANONYMOUS = "anonymous"

_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,127}")
_ID_FORM = "1 to 128 of A-Z a-z 0-9 . _ : -, not beginning with a dot"
_USER = re.compile(r"[\x21-\x7e]{1,128}")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_MAX_DEPENDENCIES = 100
_MAX_DELAY_SECONDS = 31_536_000
_MAX_LABELS = 16
_MAX_LABEL_BYTES = 64
_MAX_TIMEOUT_SECONDS = 604_800


@dataclass(frozen=True)
class AdmittedTask:
    """A task that may be stored."""

    spec: task_pb2.TaskSpec
    node: str
    sha: str
    not_before: str
    start_deadline_ms: int
    timeout_seconds: int
    fields: dict[str, str | bytes]
    """What the record keeps of it from the start."""
    asked_ms: int = 0
    """When its client asked, Unix milliseconds; 0: now."""
    sources: tuple[Source, ...] = ()
    """Where its input takes values from the outputs of other tasks."""


class Admission:
    """Checks specs against the catalogue and the limits of form."""

    def __init__(
        self,
        types: TaskTypeCatalog,
        policy: EgressPolicy,
        limits: LimitsSection,
        *,
        default_timeout_seconds: int,
        make_id: Callable[[], str] = lambda: f"task-{uuid.uuid4()}",
    ) -> None:
        self._types = types
        self._policy = policy
        self._limits = limits
        self._default_timeout_seconds = default_timeout_seconds
        self._make_id = make_id

    async def admit(self, asked: task_pb2.TaskSpec, asked_ms: int = 0) -> AdmittedTask:
        """Return the task ready to be stored, with an id and its defaults.

        Raises InvalidArgument, UnknownTaskType, InvalidInput, PayloadTooLarge or AddressRefused, each with JSON pointers into
        the spec, and NotConfigured.
        """
        spec = task_pb2.TaskSpec()
        spec.CopyFrom(asked)
        spec.user = spec.user or ANONYMOUS
        sha = fingerprint(spec)
        spec.task_id = spec.task_id or self._make_id()
        _place_in_trace(spec)
        _check_names(spec)
        known = await self._types.require(spec.task_name)
        _check_lacking(known.published, spec)
        if spec.input.ByteSize() > self._limits.max_input_bytes:
            raise PayloadTooLarge(f"/input: larger than {self._limits.max_input_bytes} bytes")
        sources = self._checked_input(known, spec)
        _check_numbers(spec)
        if spec.callback_url:
            self._check_callback(spec.callback_url)
        if spec.callback_format and spec.callback_format not in FORMATS:
            raise InvalidArgument.at("/callback_format", f"one of: {', '.join(FORMATS)}")
        timeout = spec.timeout_seconds or known.published.timeout_seconds or self._default_timeout_seconds
        return AdmittedTask(
            spec=spec,
            node=known.published.node,
            sha=sha,
            not_before=_not_before(spec),
            start_deadline_ms=milliseconds(spec, "start_deadline"),
            timeout_seconds=timeout,
            fields={
                "user": spec.user,
                "node": known.published.node,
                "name": spec.task_name,
                "workflow": spec.workflow_id or spec.task_id,
                "timeout": str(timeout),
                "callback": spec.callback_url,
                "labels": orjson.dumps(dict(spec.labels)) if spec.labels else b"",
            },
            asked_ms=asked_ms,
            sources=sources,
        )

    def _checked_input(self, known: KnownType, spec: task_pb2.TaskSpec) -> tuple[Source, ...]:
        """Check the input; gives where it takes values from. Raises BadReference or InvalidInput."""
        value = from_struct(spec.input)
        references = find_references(value)
        sources = []
        for reference in references:
            pointer = to_pointer(reference.place)
            if reference.kind == "stages":
                self.check_output_field(reference.name, reference.path[0], f"/input{pointer}")
            elif reference.name == spec.task_id:
                raise _bad_reference(f"/input{pointer}", "refers to the task itself")
            want = Want(reference.kind, reference.name, to_pointer(reference.path))
            sources.append(Source(pointer, (want,)))
        fills: list[Source] = []
        if spec.workflow_id and not spec.explicit_input:
            fills += missing_fields(spec.task_name, value, known=known.fields, required_fields=known.required)
        check_input(
            known.validator, value, references, {source.pointer.removeprefix("/") for source in fills}
        )
        return (*sources, *fills)

    def check_output_field(self, stage: str, field: str, at: str) -> None:
        """Check that a task type can give a field. Raises BadReference, with the pointer `at`."""
        kind = self._types.known(stage)
        if kind is None:
            raise _bad_reference(at, f"no node offers task {stage!r}")
        if kind.output_fields is not None and field not in kind.output_fields:
            names = ", ".join(sorted(kind.output_fields))
            raise _bad_reference(at, f"{stage} has no output field {field!r}; it has {names}")

    def _check_callback(self, url: str) -> None:
        try:
            self._policy.check_url(url)
        except AddressRefused as refused:
            field = FieldViolation("/callback_url", refused.message)
            raise AddressRefused(f"{field.pointer}: {field.detail}", fields=[field]) from None


def _check_lacking(kind: task_pb2.TaskType, spec: task_pb2.TaskSpec) -> None:
    """Raise NotConfigured for a task that its node, as it is configured, could only fail."""
    if kind.lacking and not any(
        spec.input.fields[name].string_value for name in kind.lacking_unless if name in spec.input.fields
    ):
        raise NotConfigured(f"{kind.name} cannot run here: {kind.lacking}")


def _place_in_trace(spec: task_pb2.TaskSpec) -> None:
    """Have the task belong to the span of its submit, unless its client names another trace for it."""
    here = ids.traceparent.get()
    if not ids.offered_traceparent(spec.traceparent):
        spec.traceparent, spec.tracestate = here, ids.tracestate.get()
    elif ids.is_sampled() and here.split("-")[1] == spec.traceparent.split("-")[1]:
        spec.traceparent = here
    spec.tracestate = ids.accepted_tracestate(spec.tracestate, spec.traceparent)


def _bad_reference(at: str, detail: str) -> BadReference:
    return BadReference(f"{at}: {detail}", fields=[FieldViolation(at, detail)])


def _not_before(spec: task_pb2.TaskSpec) -> str:
    if not spec.delay_seconds:
        return str(milliseconds(spec, "start_time"))
    if spec.HasField("start_time"):
        raise InvalidArgument.at("/delay_seconds", "give a delay or a start time, not both")
    if not 0 < spec.delay_seconds <= _MAX_DELAY_SECONDS:
        raise InvalidArgument.at("/delay_seconds", f"must be 0 to {_MAX_DELAY_SECONDS}")
    return f"+{round(spec.delay_seconds * 1000)}"


def milliseconds(message: Any, field: str) -> int:
    """Return a timestamp as Unix milliseconds, at least 1; 0 when the message has none. Raises InvalidArgument."""
    if not message.HasField(field):
        return 0
    stamp = getattr(message, field)
    try:
        return max(1, int(stamp.ToMilliseconds()))
    except ValueError:
        raise InvalidArgument.at(f"/{field}", "not a time") from None


def check_workflow_id(workflow_id: str) -> None:
    """Raise InvalidArgument for an id that no workflow can have."""
    if not _ID.fullmatch(workflow_id):
        raise InvalidArgument.at("/workflow_id", _ID_FORM)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise InvalidArgument for labels that are too many or too long."""
    if len(labels) > _MAX_LABELS:
        raise InvalidArgument.at("/labels", f"more than {_MAX_LABELS} labels")
    for key, value in labels.items():
        if not key or len(key.encode()) > _MAX_LABEL_BYTES or len(value.encode()) > _MAX_LABEL_BYTES:
            raise InvalidArgument.at(
                "/labels", f"a label's name and value have at most {_MAX_LABEL_BYTES} bytes"
            )


def _check_names(spec: task_pb2.TaskSpec) -> None:
    if not _ID.fullmatch(spec.task_id):
        raise InvalidArgument.at("/task_id", _ID_FORM)
    if spec.workflow_id:
        check_workflow_id(spec.workflow_id)
    if not _USER.fullmatch(spec.user):
        raise InvalidArgument.at("/user", "1 to 128 printable ASCII characters without spaces")
    if len(spec.depends_on) > _MAX_DEPENDENCIES:
        raise InvalidArgument.at("/depends_on", f"more than {_MAX_DEPENDENCIES} tasks")
    if len(set(spec.depends_on)) != len(spec.depends_on):
        raise InvalidArgument.at("/depends_on", "names a task twice")
    for index, dependency in enumerate(spec.depends_on):
        if not _ID.fullmatch(dependency) or dependency == spec.task_id:
            raise InvalidArgument.at(f"/depends_on/{index}", "not the id of another task")
    check_labels(spec.labels)


def _check_numbers(spec: task_pb2.TaskSpec) -> None:
    policy = spec.retry_policy
    ranges: tuple[tuple[str, float, float, float], ...] = (
        ("/priority", spec.priority, -100, 100),
        ("/timeout_seconds", spec.timeout_seconds, 0, _MAX_TIMEOUT_SECONDS),
        ("/retry_policy/max_attempts", policy.max_attempts, 0, 20),
        ("/retry_policy/initial_delay_seconds", policy.initial_delay_seconds, 0, 86_400),
        ("/retry_policy/backoff_factor", policy.backoff_factor, 0, 10),
        ("/retry_policy/max_delay_seconds", policy.max_delay_seconds, 0, 604_800),
    )
    for pointer, value, low, high in ranges:
        if not low <= value <= high:
            raise InvalidArgument.at(pointer, f"must be {low:g} to {high:g}")
    if 0 < policy.backoff_factor < 1:
        raise InvalidArgument.at("/retry_policy/backoff_factor", "must be 1 to 10")
    if len(policy.retryable_codes) > 32 or not all(_CODE.fullmatch(code) for code in policy.retryable_codes):
        raise InvalidArgument.at(
            "/retry_policy/retryable_codes", "at most 32 error codes like MEDIA_UNREADABLE"
        )
