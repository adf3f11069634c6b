"""What a workflow must be before it is written: its keys become ids, its references tasks, and no task waits for itself.

From here on its tasks are like any others: ids in `depends_on`, and in their inputs references by id.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

import orjson

from results.workflow_context import member_id
from results.workflow_outputs import read_reference
from runtime.egress import EgressPolicy
from runtime.errors import FieldViolation, InvalidArgument, PayloadTooLarge
from runtime.structs import from_struct, to_struct
from scheduler.queue.admission import ANONYMOUS, Admission, AdmittedTask, check_labels, check_workflow_id
from scheduler.queue.bindings import Source, Want
from scheduler.queue.keys import workflow_record
from scheduler.queue.payload import fingerprint
from scheduler.queue.references import Reference, find_references, rewritten, to_pointer
from scheduler.settings import LimitsSection
from yivideo.task.v1 import task_pb2, workflow_pb2

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEMPLATE = re.compile(r"[a-z0-9_]{0,64}")
_MAX_RESULTS = 32
_MAX_RESULT_BYTES = 500


@dataclass(frozen=True)
class AdmittedWorkflow:
    """A workflow that may be stored."""

    spec: workflow_pb2.WorkflowSpec
    """As it was asked, with its ids."""
    sha: str
    tasks: tuple[AdmittedTask, ...]


class WorkflowAdmission:
    """Checks workflows."""

    def __init__(
        self,
        admission: Admission,
        policy: EgressPolicy,
        limits: LimitsSection,
        *,
        make_id: Callable[[], str] = lambda: f"workflow-{uuid.uuid4()}",
    ) -> None:
        self._admission = admission
        self._policy = policy
        self._limits = limits
        self._make_id = make_id

    async def admit(self, asked: workflow_pb2.WorkflowSpec) -> AdmittedWorkflow:
        """Return the workflow ready to be stored.

        Raises what Admission.admit raises of any task, with pointers into the workflow (`/tasks/2/spec/input/video_path`).
        """
        spec = workflow_pb2.WorkflowSpec()
        spec.CopyFrom(asked)
        spec.user = spec.user or ANONYMOUS
        sha = _fingerprint(spec)
        spec.workflow_id = spec.workflow_id or self._make_id()
        self._check_form(spec)
        members = _Members(spec)
        tasks = []
        for index, task in enumerate(spec.tasks):
            try:
                tasks.append(await self._admit_task(members, index, task))
            except InvalidArgument as error:
                raise within(error, f"/tasks/{index}/spec") from None
        _check_order(spec, tasks)
        # All of them belong to the span of this submit; the workflow's callback finds it by the first.
        spec.tasks[0].spec.traceparent = tasks[0].spec.traceparent
        spec.tasks[0].spec.tracestate = tasks[0].spec.tracestate
        return AdmittedWorkflow(spec, sha, tuple(tasks))

    def _check_form(self, spec: workflow_pb2.WorkflowSpec) -> None:
        check_workflow_id(spec.workflow_id)
        if not 1 <= len(spec.tasks) <= self._limits.max_workflow_tasks:
            raise InvalidArgument.at("/tasks", f"must be 1 to {self._limits.max_workflow_tasks} tasks")
        if spec.ByteSize() > self._limits.max_workflow_bytes:
            raise PayloadTooLarge(f"/tasks: larger than {self._limits.max_workflow_bytes} bytes")
        if not _TEMPLATE.fullmatch(spec.template):
            raise InvalidArgument.at("/template", "at most 64 of a-z 0-9 _")
        check_labels(spec.labels)
        _check_result(spec.result)
        if spec.callback_url:
            self._policy.check_url(spec.callback_url)

    async def _admit_task(
        self, members: _Members, index: int, task: workflow_pb2.WorkflowTask
    ) -> AdmittedTask:
        spec = task_pb2.TaskSpec()
        spec.CopyFrom(task.spec)
        spec.depends_on[:] = [members.ids.get(name, name) for name in spec.depends_on]
        value = from_struct(spec.input)
        for reference in find_references(value):
            if stage := members.task_name(members.meant(index, spec, reference)):
                at = f"/input{to_pointer(reference.place)}"
                self._admission.check_output_field(stage, reference.path[0], at)
        spec.input.CopyFrom(to_struct(rewritten(value, lambda found: members.meant(index, spec, found))))
        admitted = await self._admission.admit(spec)
        sources = tuple(members.bound(index, spec, source) for source in admitted.sources)
        fields = admitted.fields | {"wf": workflow_record(spec.workflow_id), "wf_key": task.key}
        return replace(admitted, sources=sources, fields=fields)


class _Members:
    """A workflow's tasks by key, id and type. Gives each its id."""

    def __init__(self, workflow: workflow_pb2.WorkflowSpec) -> None:
        self.ids: dict[str, str] = {}
        """Task id by key."""
        self._specs = [task.spec for task in workflow.tasks]
        for index, task in enumerate(workflow.tasks):
            spec, at = task.spec, f"/tasks/{index}"
            if not _KEY.fullmatch(task.key) or task.key in self.ids:
                raise InvalidArgument.at(f"{at}/key", "1 to 64 of A-Z a-z 0-9 _ -, each once in a workflow")
            for field in ("user", "workflow_id"):
                if getattr(spec, field) not in ("", getattr(workflow, field)):
                    raise InvalidArgument.at(f"{at}/spec/{field}", "is the workflow's")
            spec.user, spec.workflow_id = workflow.user, workflow.workflow_id
            spec.task_id = member_id(workflow.workflow_id, task)
            self.ids[task.key] = spec.task_id
        self._names = {spec.task_id: spec.task_name for spec in self._specs}
        if len(self._names) < len(self._specs):
            raise InvalidArgument.at("/tasks", "two tasks have one task_id")

    def task_name(self, task_id: str) -> str:
        """Return the type of one of the tasks, empty for another's id."""
        return self._names.get(task_id, "")

    def meant(self, index: int, spec: task_pb2.TaskSpec, reference: Reference) -> str:
        """Return the id of the task that a reference of the task at `index` means; empty: none of the workflow."""
        if reference.kind == "tasks":
            return self.ids.get(reference.name, reference.name if reference.name in self._names else "")
        return self._of_type(index, spec, reference.name)

    def bound(self, index: int, spec: task_pb2.TaskSpec, source: Source) -> Source:
        """Return a source whose stages are tasks of the workflow, as far as it has them."""
        wants = []
        for want in source.wants:
            task_id = want.name if want.kind == "tasks" else self._of_type(index, spec, want.name)
            if task_id:
                wants.append(Want("tasks", task_id, want.path))
        return replace(source, wants=tuple(wants)) if wants else source

    def _of_type(self, index: int, spec: task_pb2.TaskSpec, name: str) -> str:
        named = [one for one in spec.depends_on if self._names.get(one) == name]
        before = [one.task_id for one in self._specs[:index] if one.task_name == name]
        return (named or before or [""])[-1]


def within(error: InvalidArgument, at: str) -> InvalidArgument:
    """Return a task's refusal with pointers that lead to it from the workflow."""
    message = at + error.message if error.message.startswith("/") else error.message
    fields = [FieldViolation(at + field.pointer, field.detail) for field in error.fields]
    return type(error)(message, fields=fields)


def _check_order(spec: workflow_pb2.WorkflowSpec, tasks: list[AdmittedTask]) -> None:
    keys = {admitted.spec.task_id: task.key for admitted, task in zip(tasks, spec.tasks, strict=True)}
    waits: Mapping[str, set[str]] = {
        task.spec.task_id: {*task.spec.depends_on, *(source.wants[0].name for source in task.sources)}
        & set(keys)
        for task in tasks
    }
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle = " → ".join(keys[task_id] for task_id in reversed(error.args[1]))
        raise InvalidArgument.at("/tasks", f"wait for each other in a circle: {circle}") from None


def _check_result(result: Mapping[str, str]) -> None:
    if len(result) > _MAX_RESULTS:
        raise InvalidArgument.at("/result", f"more than {_MAX_RESULTS} names")
    for name, text in sorted(result.items()):
        if not name or not _TEMPLATE.fullmatch(name):
            raise InvalidArgument.at("/result", "a name is 1 to 64 of a-z 0-9 _")
        if len(text.encode()) > _MAX_RESULT_BYTES or read_reference(text) is None:
            raise InvalidArgument.at(f"/result/{name}", "is not `${{ tasks.<key>.output.<field> }}`")


def _fingerprint(spec: workflow_pb2.WorkflowSpec) -> str:
    """Return the SHA-256 of everything that was asked but `workflow_id` and `result`, which a newer gateway may word otherwise."""
    plain = {
        "user": spec.user,
        "tasks": [[task.key, task.spec.task_id, fingerprint(task.spec)] for task in spec.tasks],
        "callback_url": spec.callback_url,
        "labels": dict(spec.labels),
        "template": spec.template,
    }
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
