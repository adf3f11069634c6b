"""From the three forms of a workflow's submission to the WorkflowSpec that the scheduler gets."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.http.body import checked
from gateway.v1.submission import in_body_terms, task_id_from_key, to_spec
from gateway.v1.workflow_requests import SubmitChain, SubmitTemplate, SubmitWorkflow, WorkflowTaskBody
from runtime.errors import FieldViolation, InvalidArgument
from yivideo.task.v1 import task_pb2, workflow_pb2

Submission = SubmitWorkflow | SubmitTemplate | SubmitChain

_IN_TASK = re.compile(r"/tasks/(\d+)/spec(/.*)")


def read_submission(value: Any) -> Submission:
    """Return the form that a body has. Raises InvalidArgument."""
    fields = value if isinstance(value, dict) else {}
    if "template" in fields:
        return checked(SubmitTemplate, value)
    if "workflow_config" in fields:
        return checked(SubmitChain, value)
    return checked(SubmitWorkflow, value)


def workflow_id_of(body: Submission, user: str, idempotency_key: str | None) -> str:
    """Return the id that the client gave, or one that stands for its Idempotency-Key, or a new one."""
    if body.workflow_id is not None:
        return body.workflow_id
    if idempotency_key:
        return "workflow" + task_id_from_key(idempotency_key, user).removeprefix("task")
    return f"workflow-{uuid.uuid4()}"


def to_workflow_spec(
    body: SubmitWorkflow,
    workflow_id: str,
    user: str,
    template: str = "",
    *,
    result: Mapping[str, str] | None = None,
    all_files: bool = False,
) -> workflow_pb2.WorkflowSpec:
    """Write the spec; `result` says what comes out, by name. Raises InvalidArgument for input that cannot be sent."""
    spec = workflow_pb2.WorkflowSpec(
        workflow_id=workflow_id,
        user=user,
        callback_url=body.callback or "",
        labels=body.labels,
        template=template,
        result=result,
    )
    for index, task in enumerate(body.tasks):
        key = task.key or task.task_name.partition(".")[2]
        try:
            spec.tasks.add(key=key, spec=_task_spec(task, user, all_files))
        except InvalidArgument as error:
            fields = [FieldViolation(f"/tasks/{index}{one.pointer}", one.detail) for one in error.fields]
            raise InvalidArgument(f"/tasks/{index}{error.message}", fields=fields) from None
    return spec


def _task_spec(task: WorkflowTaskBody, user: str, all_files: bool) -> task_pb2.TaskSpec:
    made = to_spec(task, user, None, all_files=all_files)
    made.task_id = task.task_id or ""
    return made


def chain_tasks(body: SubmitChain, task_types: Mapping[str, task_pb2.TaskType]) -> SubmitWorkflow:
    """Return a chain as tasks that wait for each other in order; each gets `video_path` where its schema knows it."""
    tasks: list[dict[str, Any]] = []
    for index, name in enumerate(body.workflow_config.workflow_chain):
        given = body.parameters_of(name)
        kind = task_types.get(name)
        known = orjson.loads(kind.input_schema or "{}").get("properties", {}) if kind else {}
        if body.video_path is not None and "video_path" in known:
            given.setdefault("video_path", body.video_path)
        key = f"{index + 1}-{name.replace('.', '-')}"[:64]
        after = [tasks[-1]["key"]] if tasks else []
        tasks.append({"key": key, "task_name": name, "input_data": given, "depends_on": after})
    return checked(
        SubmitWorkflow,
        {"tasks": tasks, "callback": body.callback, "labels": dict(body.labels)},
    )


def in_workflow_terms(error: InvalidArgument) -> InvalidArgument:
    """Return the scheduler's refusal with pointers, and their mentions in the text, as the client's body names them."""
    message, fields = error.message, []
    for field in error.fields:
        pointer = field.pointer
        if found := _IN_TASK.fullmatch(pointer):
            inner = in_body_terms(InvalidArgument("", fields=[FieldViolation(found[2], "")]))
            pointer = f"/tasks/{found[1]}{inner.fields[0].pointer}"
        message = message.replace(f"{field.pointer}:", f"{pointer}:", 1)
        fields.append(FieldViolation(pointer, field.detail))
    return type(error)(message, fields=fields)
