"""Whose tasks a caller may see."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import TaskNotFound
from yivideo.task.v1 import task_pb2


@dataclass(frozen=True)
class Viewer:
    """A caller, as far as tasks are concerned; facades make it from their principal."""

    user: str
    """Whose tasks these are, `TaskSpec.user`."""
    sees_all_tasks: bool = False
    """Whether tasks of other users exist for this caller."""

    def require_own(self, task: task_pb2.Task) -> None:
        """Raise TaskNotFound for another user's task: to this caller it does not exist."""
        if not self.sees_all_tasks and task.spec.user != self.user:
            raise TaskNotFound(f"no task {task.spec.task_id!r}")
