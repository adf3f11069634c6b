"""The record of one attempt's task: what GetTask answers and what a gap carries. Follows the attempt, decides nothing."""

from __future__ import annotations

from typing import Protocol

from nodekit.attempt.assignment import masked
from nodekit.attempt.event_log import EventLog, now
from yivideo.task.v1 import task_pb2

_STATES = {
    "completed": task_pb2.TASK_STATE_COMPLETED,
    "failed": task_pb2.TASK_STATE_FAILED,
    "cancelled": task_pb2.TASK_STATE_CANCELLED,
    "handed_back": task_pb2.TASK_STATE_PENDING,
}


class Assigned(Protocol):
    """What an attempt was told, as far as its record shows it."""

    @property
    def spec(self) -> task_pb2.TaskSpec:
        """The task."""

    @property
    def attempt(self) -> int:
        """The attempt's number."""

    @property
    def fence(self) -> int:
        """Its fencing token; 0: none."""


class TaskRecord:
    """A task as this replica knows it."""

    def __init__(self, assignment: Assigned, replica: str, events: EventLog) -> None:
        self._spec = assignment.spec
        self._events = events
        self._task = task_pb2.Task(
            state=task_pb2.TASK_STATE_PENDING,
            attempt=assignment.attempt,
            replica=replica,
            create_time=now(),
        )

    def started(self) -> None:
        """The attempt has begun."""
        self._task.state = task_pb2.TASK_STATE_RUNNING
        self._task.run_time.CopyFrom(now())

    def cancelling(self) -> None:
        """The attempt was told to stop."""
        self._task.state = task_pb2.TASK_STATE_CANCELLING

    def ended(self, terminal: task_pb2.TaskEvent, seconds: float) -> None:
        """The attempt has ended."""
        kind = terminal.WhichOneof("event") or ""
        self._task.state = _STATES[kind]
        if kind == "completed":
            self._task.output.CopyFrom(terminal.completed.output)
            self._task.files.extend(terminal.completed.files)
            if terminal.completed.skipped:
                self._task.state = task_pb2.TASK_STATE_SKIPPED
        elif kind == "failed":
            self._task.error.CopyFrom(terminal.failed.error)
        elif kind == "cancelled":
            self._task.cancel_reason = terminal.cancelled.reason
        elif kind == "handed_back":
            self._task.waiting_reason = "given back unfinished; another attempt shall go on"
        self._task.duration_seconds = seconds
        self._task.end_time.CopyFrom(now())

    def to_proto(self) -> task_pb2.Task:
        """Return a copy with what the events tell and without secrets."""
        task = task_pb2.Task()
        task.CopyFrom(self._task)
        task.spec.CopyFrom(masked(self._spec))
        task.last_sequence = self._events.last_sequence
        task.update_time.CopyFrom(self._events.last_time or task.create_time)
        if (progress := self._events.last_progress()) is not None:
            task.progress.CopyFrom(progress)
        return task
