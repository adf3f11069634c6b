"""What receivers of callbacks get: bodies that the scheduler sends, described here because /openapi.json is where people look."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from gateway.http.model import Answer
from gateway.v1.answers.tasks import MinioFile, TaskResult
from gateway.v1.answers.workflows import Stage, WorkflowTask


class CallbackBody(Answer):
    """The result of an ended task, in the callback format `yivideo`. Every delivery of one callback has the same bytes."""

    task_id: str
    """The task's id."""
    status: str
    """completed, failed or cancelled."""
    result: TaskResult
    """The single node result, as `GET /v1/tasks/{task_id}/result` shows it."""
    minio_files: list[MinioFile]
    """Its stored outputs; `url` is the object path where the installation has no `scheduler.callbacks.public_url`."""
    timestamp: datetime
    """When the task ended."""


class EndedWorkflow(Answer):
    """A workflow that has ended: its context without what only the delivery itself would change."""

    workflow_id: str
    """The workflow's id."""
    status: str
    """completed, failed or cancelled."""
    state: str
    """The same."""
    create_at: str
    """When it was accepted, RFC 3339."""
    ended_at: str
    """When the last of its tasks ended."""
    input_params: dict[str, Any]
    """`{task_name, input_data, callback_url, workflow_chain}`; the first two of a workflow of one task."""
    shared_storage_path: str
    """Where the first YiVideo kept a workflow's files."""
    stages: dict[str, Stage]
    """Its tasks by type; of several of one type the last."""
    tasks: list[WorkflowTask]
    """All of its tasks, in order."""
    error: str | None
    """What failed first, or why it was cancelled."""
    template: str | None
    """The template that it was made from."""
    labels: dict[str, str]
    """The client's words."""


class WorkflowCallbackBody(Answer):
    """The result of an ended workflow. Every delivery of one callback has the same bytes."""

    workflow_id: str
    """The workflow's id."""
    status: str
    """completed, failed or cancelled."""
    result: EndedWorkflow
    """The whole."""
    minio_files: list[MinioFile]
    """What its tasks have stored; `url` is the object path where the installation has no `scheduler.callbacks.public_url`."""
    timestamp: datetime
    """When the workflow ended."""


class PingEvent(Answer):
    """What `POST /v1/webhooks/ping` sends to try an address."""

    event: Literal["ping"]
    """Tells it from a callback."""
    message: str
    """What this is, in English."""
    timestamp: datetime
    """When it was sent."""
