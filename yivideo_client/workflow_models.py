"""Workflows and templates as programs read them; `raw` always has the whole answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from yivideo_client.models import TERMINAL_STATUSES, Json, StoredFile, TaskError, reads, task_error

WORKFLOW_ENDS = frozenset({"workflow_completed", "workflow_failed", "workflow_cancelled"})
"""Events behind which nothing follows, unless the workflow is let go on."""
_REFERENCE = re.compile(r"\$\{\{ tasks\.([^.\s]+)\.output\.([^.\s]+) \}\}")


@dataclass(frozen=True)
class WorkflowTask:
    """One task of a workflow as it was when the server answered."""

    key: str
    """What the workflow calls it; empty: it was submitted by itself."""
    task_id: str
    task_name: str
    state: str
    """The exact state, as a task's."""
    percent: float | None = None
    """How far its current attempt is, 0 to 100."""
    output: Json = field(default_factory=dict)
    """Empty until it has completed."""
    error: TaskError | None = None
    files: tuple[StoredFile, ...] = ()
    """Its stored outputs."""
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    @reads("a task of a workflow")
    def from_answer(cls, body: Mapping[str, Any]) -> WorkflowTask:
        """Read it from the answer of a submission or from a workflow."""
        error = body.get("error_detail")
        return cls(
            key=str(body.get("key") or ""),
            task_id=str(body["task_id"]),
            task_name=str(body["task_name"]),
            state=str(body["state"]),
            percent=body.get("percent"),
            output=dict(body.get("output") or {}),
            error=task_error(error) if isinstance(error, dict) else None,
            files=tuple(StoredFile.from_answer(one) for one in body.get("minio_files") or ()),
            raw=dict(body),
        )


@dataclass(frozen=True)
class Workflow:
    """A workflow as it was when the server answered."""

    workflow_id: str
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state: also cancelling."""
    template: str = ""
    """The template that it was made from; empty: none, or not told in this answer."""
    error: str = ""
    """What failed first, or why it was cancelled."""
    tasks: tuple[WorkflowTask, ...] = ()
    """Its tasks, in order; empty in lists."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many of its tasks are in which state."""
    reused: bool = False
    """Whether a submission was answered with a workflow that existed before."""
    raw: Json = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more, unless it is let go on."""
        return self.status in TERMINAL_STATUSES

    @classmethod
    @reads("a workflow")
    def from_answer(cls, body: Mapping[str, Any]) -> Workflow:
        """Read it from the answer of a submission, a record or a list."""
        told = body.get("tasks") or ()
        tasks = () if isinstance(told, dict) else tuple(WorkflowTask.from_answer(one) for one in told)
        counts: dict[str, int] = dict(told) if isinstance(told, dict) else {}
        for task in tasks:
            counts[task.state] = counts.get(task.state, 0) + 1
        return cls(
            workflow_id=str(body["workflow_id"]),
            status=str(body["status"]),
            state=str(body.get("state") or body["status"]),
            template=str(body.get("template") or ""),
            error=str(body.get("error") or ""),
            tasks=tasks,
            counts=counts,
            reused=bool((body.get("reuse_info") or {}).get("reuse_hit")),
            raw=dict(body),
        )


@dataclass(frozen=True)
class Template:
    """A workflow that is ready made."""

    name: str
    description: str
    parameters: Json = field(repr=False)
    """JSON Schema (2020-12) of its parameters."""
    tasks: tuple[str, ...] = ()
    """Task types that it may use."""
    result: Mapping[str, str] = field(default_factory=dict)
    """What comes out, by name: a reference to a task's output."""
    available: bool = True
    """Whether the installation has every task type that it needs in any case."""
    missing: tuple[str, ...] = ()
    """Task types that it may need and no node has published."""
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    @reads("a template")
    def from_answer(cls, body: Mapping[str, Any]) -> Template:
        """Read it from the list of templates."""
        return cls(
            name=str(body["name"]),
            description=str(body.get("description") or ""),
            parameters=dict(body.get("parameters") or {}),
            tasks=tuple(body.get("tasks") or ()),
            result=dict(body.get("result") or {}),
            available=bool(body.get("available", True)),
            missing=tuple(body.get("missing") or ()),
            raw=dict(body),
        )

    def results_of(self, workflow: Workflow) -> dict[str, Any]:
        """Return what came out of a workflow of this template, by name; without what its tasks did not make."""
        outputs = {task.key: task.output for task in workflow.tasks}
        found = {}
        for name, reference in self.result.items():
            if (named := _REFERENCE.fullmatch(reference)) and named[2] in outputs.get(named[1], {}):
                found[name] = outputs[named[1]][named[2]]
        return found


def result_files(workflow: Workflow, template: Template | None) -> list[tuple[WorkflowTask, StoredFile]]:
    """Return the files that a template's results name; without a template all that its tasks stored."""
    every = [(task, file) for task in workflow.tasks for file in task.files]
    if template is None:
        return every
    named = set(_texts(template.results_of(workflow)))
    return [(task, file) for task, file in every if file.path in named]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
