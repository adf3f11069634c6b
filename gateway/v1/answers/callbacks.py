"""What receivers of callbacks get: bodies that the scheduler sends, described here because /openapi.json is where people look."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.http.model import Answer
from gateway.v1.answers.tasks import MinioFile, TaskResult
from gateway.v1.answers.workflows import WorkflowResult


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


class WorkflowCallbackBody(Answer):
    """The result of an ended workflow. Every delivery of one callback has the same bytes."""

    workflow_id: str
    """The workflow's id."""
    status: str
    """completed, failed or cancelled."""
    result: WorkflowResult
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
