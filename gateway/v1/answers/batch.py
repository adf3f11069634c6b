"""Answers to many tasks that were submitted in one request."""

from __future__ import annotations

from gateway.http.model import Answer
from gateway.http.problem import FieldFault
from gateway.v1.answers.tasks import SubmitAnswer


class BatchFault(Answer):
    """Why one task was not accepted."""

    code: str
    """Stable code, for example `UNKNOWN_TASK_TYPE`."""
    message: str
    """English text for the developer who called."""
    errors: list[FieldFault]
    """The fields at fault; pointers into the task's own object, as for a submission of it alone."""
    retry_after_seconds: float | None
    """When the same task may be accepted, as `Retry-After` would say; null: not by waiting."""


class BatchItem(Answer):
    """What became of one task."""

    index: int
    """Its place in `tasks`, from 0."""
    http_status: int
    """What POST /v1/tasks would have answered: 202 accepted, 200 it was there before, else an error's."""
    task_id: str | None
    """Its id; null: it was refused before it had one."""
    task: SubmitAnswer | None
    """The answer to its submission; null: it was refused."""
    error: BatchFault | None
    """Why it was refused; null: it was not."""


class BatchAnswer(Answer):
    """What became of the tasks, in the order in which they were given."""

    accepted: int
    """How many are new."""
    reused: int
    """How many were there before: the same id and the same request."""
    failed: int
    """How many were refused; `results` says why."""
    results: list[BatchItem]
    """One entry a task."""
