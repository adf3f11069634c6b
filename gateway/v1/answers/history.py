"""Answers about what became of a task's attempts, and what they logged."""

from __future__ import annotations

from datetime import datetime

from gateway.http.model import Answer
from gateway.v1.answers.tasks import ErrorDetail


class AttemptInfo(Answer):
    """What became of one attempt."""

    attempt: int
    """Which, from 1."""
    outcome: str
    """running, cancelling, completed, skipped, failed, cancelled, lost (its node) or handed_back (its node was shut down; not
    counted, so the next has the same number)."""
    node: str
    """The node."""
    replica: str
    """Which replica of it ran the attempt."""
    address: str | None = None
    """That replica's address; only for keys with the scope `operations`."""
    started_at: datetime
    """When it was given to the replica."""
    ended_at: datetime | None
    """When it was over; null: it runs."""
    error: str | None
    """Why it did not complete, as text; null: it did, or runs."""
    error_detail: ErrorDetail | None
    """The same with its code."""


class Attempts(Answer):
    """A task's attempts, oldest first."""

    task_id: str
    """The task."""
    attempts: list[AttemptInfo]
    """At most the last 50 before the current one."""


class LogLine(Answer):
    """One line that an attempt logged for people."""

    sequence: int
    """Sequence of its event in the task's history."""
    attempt: int
    """The attempt that logged it."""
    time: datetime
    """When it was stored."""
    level: str
    """debug, info, warning or error."""
    message: str
    """English text."""


class TaskLog(Answer):
    """A page of a task's log, oldest first."""

    task_id: str
    """The task."""
    lines: list[LogLine]
    """About the last 500 of a task are kept, for as long as it is."""
    next_after: int | None
    """Send this as `after` for the next page; null: this was the last."""
