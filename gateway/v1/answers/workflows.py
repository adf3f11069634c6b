"""Answers about workflows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.http.model import Answer
from gateway.v1.answers.operations import DeliveryInfo
from gateway.v1.answers.tasks import DeletedResource, DeleteReport, ErrorDetail, MinioFile, ReuseInfo


class Stage(Answer):
    """A task as a stage: the first YiVideo's form."""

    status: str
    """PENDING, IN_PROGRESS, SUCCESS, FAILED, SKIPPED or CANCELLED."""
    input_params: dict[str, Any]
    """The input, as it was used once the task has begun; secrets masked."""
    output: dict[str, Any]
    """The output; empty until it has one."""
    error: str | None
    """Why it failed or was cancelled."""
    duration: float
    """Seconds that the last attempt ran."""


class WorkflowTask(Stage):
    """One task of a workflow."""

    task_id: str
    """The task's id."""
    key: str | None
    """What the workflow calls it; null: it was submitted by itself."""
    task_name: str
    """Task type."""
    state: str
    """The exact state."""
    waiting_reason: str | None
    """Why it waits."""
    percent: float | None
    """How far the current attempt is; 100 once the task has completed."""
    attempt: int
    """Attempts begun."""
    depends_on: list[str]
    """Ids of all tasks that it waits for: those that it names, then those that its input takes values from."""
    minio_files: list[MinioFile]
    """Its stored outputs."""
    error_detail: ErrorDetail | None = None
    """Why it failed, with a code."""


class WorkflowOutput(Answer):
    """A value that comes out of a workflow."""

    value: Any
    """The value, as the task's output has it: of a stored file its path, which another task's input can name."""
    minio_files: list[MinioFile]
    """The stored files that the value names, with their links; empty: it names none."""


class WorkflowResult(Answer):
    """A workflow, without what only the delivery of its callback would change: what a callback tells of it."""

    workflow_id: str
    """The workflow's id."""
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state: also cancelling."""
    create_at: str
    """When it was accepted, RFC 3339."""
    ended_at: str | None
    """When the last of its tasks ended."""
    input_params: dict[str, Any]
    """`{task_name, input_data, callback_url, workflow_chain}`; the first two of a workflow of one task."""
    shared_storage_path: str
    """Where the first YiVideo kept a workflow's files."""
    stages: dict[str, Stage]
    """Its tasks by type; of several of one type the last."""
    tasks: list[WorkflowTask]
    """All of its tasks, in order."""
    outputs: dict[str, WorkflowOutput | None]
    """What comes out, by the names of its template's `result`; null: its task was left out, has not ended, or has no such value.
    Empty: it was made from no template. Values of the first 3 MiB of inputs and outputs; the task has the others."""
    error: str | None
    """What failed first, or why it was cancelled."""
    template: str | None
    """The template that it was made from."""
    labels: dict[str, str]
    """The client's words."""


class WorkflowContext(WorkflowResult):
    """A workflow: the first YiVideo's WorkflowContext, and more."""

    updated_at: str
    """When it or one of its tasks last changed."""
    expires_at: str | None
    """When it and its tasks will be removed."""
    callback_status: str | None
    """pending, sent, failed or invalid_url; null: no callback, or not yet ended."""
    last_sequence: int
    """Sequence of its newest event; 0: its tasks were submitted one by one."""


class AcceptedTask(Answer):
    """A task of a workflow that was submitted."""

    key: str
    """What the workflow calls it."""
    task_id: str
    """Its id."""
    task_name: str
    """Its type."""
    state: str
    """Its exact state."""


class WorkflowAccepted(Answer):
    """Answers a workflow's submission, and one that goes on."""

    workflow_id: str
    """The workflow's id."""
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state."""
    execution_mode: str
    """full or retry."""
    tasks_total: int
    """Its tasks."""
    tasks_skipped: int
    """Those that have completed already."""
    tasks_to_execute: int
    """The others."""
    message: str
    """What happened, in English."""
    tasks: list[AcceptedTask]
    """The tasks, in order."""
    reuse_info: ReuseInfo | None = None
    """Set when the workflow existed before."""


class WorkflowSummary(Answer):
    """A workflow in a list."""

    workflow_id: str
    """The workflow's id."""
    user: str
    """Whose it is."""
    template: str | None
    """The template that it was made from."""
    labels: dict[str, str]
    """The client's words."""
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state."""
    create_at: str
    """When it was accepted, RFC 3339."""
    ended_at: str | None
    """When it ended."""
    tasks: dict[str, int]
    """How many of its tasks are in which state."""
    callback_status: str | None
    """pending, sent, failed or invalid_url."""


class WorkflowPage(Answer):
    """One page of workflows, newest first."""

    workflows: list[WorkflowSummary]
    """The workflows."""
    next_page_token: str
    """Token of the next page; empty: this was the last."""


class LackingTask(Answer):
    """A task type of a template that cannot run now."""

    task_name: str
    """The type."""
    reason: str
    """What is lacking, and how it is brought."""


class TemplateInfo(Answer):
    """A workflow that is ready made."""

    name: str
    """What a submission names it by."""
    description: str
    """What goes in and what comes out."""
    parameters: dict[str, Any]
    """JSON Schema of its parameters."""
    tasks: list[str]
    """Task types that it may use, in order."""
    result: dict[str, str]
    """What comes out, by name: the reference to it."""
    available: bool
    """Whether every task type that it needs in any case is known here, and none of them is among those of `lacking`."""
    missing: list[str]
    """Task types that it may need and no node here has published."""
    lacking: list[LackingTask]
    """Task types that it may need, that are known, and that cannot run now, each with the reason."""


class TemplateList(Answer):
    """All templates."""

    templates: list[TemplateInfo]
    """In name order."""


class DeletedTask(Answer):
    """What became of one task of a workflow that was deleted."""

    task_id: str
    """The task."""
    report: DeleteReport
    """What was done."""


class DeleteWorkflowReport(Answer):
    """What the deletion of a workflow did."""

    workflow_id: str
    """The workflow."""
    status: str
    """success, partial_failed or failed."""
    tasks: list[DeletedTask]
    """Its tasks, in order."""
    record: DeletedResource
    """Its own record; it stays where not all of its tasks could be deleted."""
    timestamp: datetime
    """When it was done."""


class WorkflowDeliveries(Answer):
    """All attempts at one workflow's callback, oldest first."""

    workflow_id: str
    """The workflow."""
    callback_status: str | None
    """pending, sent, failed or invalid_url."""
    next_attempt_at: datetime | None
    """When the next attempt is due."""
    deliveries: list[DeliveryInfo]
    """The attempts."""
