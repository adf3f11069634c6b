"""An attempt that ended in an earlier process of this replica, and whose end is still there to be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nodekit.attempt.event_log import EventLog
from nodekit.attempt.task_record import TaskRecord
from nodekit.attempt.watch import Watch
from runtime.errors import WrongState
from yivideo.task.v1 import task_pb2


@dataclass(frozen=True)
class PastAssignment:
    """What it was told."""

    spec: task_pb2.TaskSpec
    attempt: int
    fence: int


class PastAttempt:
    """It can be found, watched and read like one that ended here; nothing of it can change any more."""

    ended = True

    def __init__(
        self,
        assignment: PastAssignment,
        events: list[task_pb2.TaskEvent],
        heartbeat_seconds: float,
        on_read: Callable[[PastAttempt], None],
    ) -> None:
        self.assignment = assignment
        self.events = EventLog.restored(self.task_id, assignment.attempt, events)
        self.heartbeat_seconds = heartbeat_seconds
        self.read = False
        """Whether a watcher was given the terminal event."""
        self._on_read = on_read
        self._record = TaskRecord(assignment, "", self.events)
        last = events[-1]
        kind = last.WhichOneof("event") or ""
        self._record.ended(last, getattr(getattr(last, kind), "duration_seconds", 0.0))

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.assignment.spec.task_id

    def attach(self) -> Watch:
        """Register a watcher; release it when it goes."""
        return Watch(self)

    def count_watchers(self, change: int) -> None:
        """Nobody need watch it."""

    def check(self) -> None:
        """A newer attempt takes its place in the table, and leaves its watchers their end."""

    def note_read(self) -> None:
        """A watcher has the terminal event."""
        if not self.read:
            self.read = True
            self._on_read(self)

    def cancel(self, reason: str, grace_seconds: float | None) -> None:
        """Raise WrongState: it has ended."""
        raise WrongState(f"the task {self.task_id} has ended")

    def to_proto(self) -> task_pb2.Task:
        """Describe the task as GetTask answers it."""
        return self._record.to_proto()

    def to_running(self) -> task_pb2.RunningAttempt:
        """Describe the attempt as WatchNode lists it."""
        told = self.assignment
        return task_pb2.RunningAttempt(
            task_id=self.task_id, attempt=told.attempt, fence=told.fence, ended=True
        )
