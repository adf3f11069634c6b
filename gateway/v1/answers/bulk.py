"""Answers to what is done to many tasks at once."""

from __future__ import annotations

from gateway.http.model import Answer


class BulkItem(Answer):
    """What became of one task."""

    task_id: str
    """The task."""
    status: str
    """cancelled, cancelling, deleted, partial_failed, failed, or not_tried when the request's time was over."""
    code: str | None
    """Stable code of what was refused; null: nothing was."""
    message: str | None
    """Why, in English."""


class BulkAnswer(Answer):
    """What became of the tasks, in the order in which they were named or found."""

    done: int
    """On how many it was done."""
    failed: int
    """On how many not; `results` says why."""
    results: list[BulkItem]
    """One entry a task."""
    more: bool
    """Whether more tasks fit `where`: ask again."""
