"""Answers about tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.http.model import Answer


class ErrorDetail(Answer):
    """Why a task failed."""

    code: str
    """Stable code, for example `MEDIA_UNREADABLE`."""
    message: str
    """English text for the developer who called."""
    field: str
    """JSON pointer of the field at fault in the request, `/input_data/…`; empty: none."""
    retryable: bool
    """Whether the same input may succeed later."""


class FailureDetails(Answer):
    """What is known about a failure beside its text."""

    code: str
    """Stable code, for example `MEDIA_UNREADABLE`."""
    field: str
    """JSON pointer of the input field at fault; empty: none."""
    retryable: bool
    """Whether the same input may succeed later."""
    attempt: int
    """Which attempt failed; 0: none had begun."""
    worker_lost_count: int
    """Attempts that ended because their node was lost."""
    replica: str
    """The node replica that ran it; empty: none."""


class TaskResult(Answer):
    """The single node result: the same in answers, events and callbacks."""

    task_name: str
    """Task type."""
    status: str
    """SUCCESS, FAILED, SKIPPED or CANCELLED."""
    input_params: dict[str, Any]
    """The input as it was used, secrets masked."""
    output: dict[str, Any] | None
    """The task's output."""
    error: str | None
    """Why it failed, as text."""
    error_detail: ErrorDetail | None = None
    """The same with its code."""
    details: FailureDetails | None = None
    """Set when it failed."""
    duration: float
    """Seconds that the last attempt ran."""


class MinioFile(Answer):
    """One stored output."""

    name: str
    """Last part of its path."""
    url: str
    """Where it can be downloaded, with the same key as this request."""
    type: str
    """video, audio, subtitle, text, data, image, archive or unknown."""
    size: int
    """Bytes."""
    path: str
    """Object path; usable as the next task's input."""
    bucket: str
    """Bucket that holds it."""
    sha256: str
    """Lower-case hex SHA-256 of its content."""


class ReuseInfo(Answer):
    """That an answer is an earlier task's."""

    reuse_hit: bool
    """Always true."""
    task_name: str
    """Task type of the earlier task."""
    source: str
    """Where it was found."""
    cached_at: datetime | None = None
    """When its result was made."""
    state: str | None = None
    """Its state while it has no result."""


class SubmitAnswer(Answer):
    """Answers a submission."""

    task_id: str
    """The task's id."""
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state: also blocked, cancelling and skipped."""
    message: str
    """What happened, in English."""
    reuse_info: ReuseInfo | None = None
    """Set when the task existed before."""
    result: TaskResult | None = None
    """Set when it has ended already."""
    minio_files: list[MinioFile] | None = None
    """Its stored outputs, with the result."""


class ProgressInfo(Answer):
    """How far the current attempt is."""

    percent: float
    """0 to 100."""
    stage: str
    """Machine-readable step."""
    message: str
    """English text."""
    data: dict[str, Any]
    """The task's own figures."""


class QueuePlace(Answer):
    """Where a task stands among those that wait for the same node."""

    position: int | None
    """1: the next to start, if nothing new is submitted and users go on taking turns; null: unknown, because its user runs as many
    tasks as one may, or too many users wait to count."""
    estimated_wait_seconds: float | None
    """The mean run of the node's last attempts × position ÷ slots; null: unknown, because too few were seen or none is there."""
    estimate_basis: str | None
    """The figures that the estimate was made of; null without one."""


class TaskStatus(Answer):
    """A task as clients that wait for it need it."""

    task_id: str
    """The task's id."""
    task_name: str
    """Task type."""
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state: also blocked (waits for other tasks: pending), cancelling (running) and skipped (completed)."""
    message: str
    """Where it is, in English."""
    result: TaskResult | None
    """The result; null until it has ended."""
    minio_files: list[MinioFile]
    """Its stored outputs."""
    progress: ProgressInfo | None
    """Last known progress; null: none yet."""
    create_at: datetime
    """The same as created_at, under the origin's name."""
    created_at: datetime
    """When it was accepted."""
    updated_at: datetime
    """When its record last changed."""
    callback_status: str | None
    """pending, sent, failed or invalid_url; null: no callback, or not yet ended."""
    queue: QueuePlace | None = None
    """Its place while it could start and waits for its node; missing otherwise."""


class TaskSummary(Answer):
    """A task in a list: without input and output."""

    task_id: str
    """The task's id."""
    task_name: str
    """Task type."""
    user: str
    """Whose it is."""
    workflow_id: str
    """Workflow it belongs to."""
    labels: dict[str, str]
    """The client's words."""
    status: str
    """pending, running, completed, failed or cancelled."""
    state: str
    """The exact state."""
    message: str
    """Where it is, in English."""
    error: ErrorDetail | None
    """Why it failed."""
    progress: ProgressInfo | None
    """Last known progress."""
    priority: int
    """-100 to 100."""
    attempt: int
    """Attempts begun."""
    created_at: datetime
    """When it was accepted."""
    updated_at: datetime
    """When its record last changed."""
    started_at: datetime | None
    """When the current attempt began."""
    ended_at: datetime | None
    """When it ended."""
    duration: float
    """Seconds that the last attempt ran."""
    callback_status: str | None
    """pending, sent, failed or invalid_url."""


class TaskRecord(TaskStatus, TaskSummary):
    """Everything about a task."""

    input_data: dict[str, Any]
    """What was asked, secrets masked."""
    callback: str | None
    """Where the result is sent."""
    depends_on: list[str]
    """Ids of tasks that had to complete first."""
    start_time: datetime | None
    """Not to start before."""
    start_deadline: datetime | None
    """Not to start after."""
    timeout_seconds: int
    """Longest run of an attempt; 0: the task type's own."""
    worker_lost_count: int
    """Attempts that ended because their node was lost."""
    expires_at: datetime | None
    """When the record will be removed."""
    last_sequence: int
    """Sequence of its newest event."""


class TaskPage(Answer):
    """One page of tasks."""

    tasks: list[TaskSummary]
    """The tasks."""
    next_page_token: str
    """Token of the next page; empty: this was the last."""
    total: int | None = None
    """How many tasks fit, over all pages; only when it was asked for, null when more than 20,000 would have to be looked at."""


class CancelAnswer(Answer):
    """Answers a cancel."""

    task_id: str
    """The task's id."""
    status: str
    """cancelled, or running while its process tree is being stopped."""
    state: str
    """cancelled or cancelling."""
    message: str
    """What happens, in English."""


class DeletedResource(Answer):
    """How one resource of a deleted task fared."""

    resource: str
    """local_directory (files on a shared folder), redis (the task's record) or minio (its stored files). These are words of the
    first YiVideo, whatever the installation stores in: files that lie in a folder or another S3 are called minio too."""
    status: str
    """deleted, skipped or failed."""
    message: str
    """What happened, in English."""
    retriable: bool
    """Whether deleting again may help."""
    details: dict[str, Any]
    """Figures."""


class DeleteReport(Answer):
    """What a delete did."""

    status: str
    """success, partial_failed or failed."""
    results: list[DeletedResource]
    """One entry a resource."""
    warnings: list[str]
    """Things worth knowing."""
    timestamp: datetime
    """When it was done."""
