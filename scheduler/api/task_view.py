"""Tasks and workflows as clients see them now: the record, and what only a running scheduler knows beside it."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.queue.availability import Availability
from scheduler.queue.presenter import StoredTask, to_task
from scheduler.queue.record import TaskRecord
from scheduler.queue.workflow_presenter import to_workflow
from scheduler.queue.workflow_store import StoredWorkflow
from yivideo.task.v1 import task_pb2, workflow_pb2


class TaskView:
    """Shows tasks; `starts` says how a node is started here, by its name, where there is a command for it."""

    def __init__(self, availability: Availability, starts: Mapping[str, str]) -> None:
        self._availability = availability
        self._starts = starts

    def task(self, stored: StoredTask, *, brief: bool = False) -> task_pb2.Task:
        """Return the task; `brief` leaves out input and output, as listings do."""
        task = to_task(stored, brief=brief)
        self._tell(task, stored.record)
        return task

    def workflow(self, stored: StoredWorkflow) -> workflow_pb2.Workflow:
        """Return the workflow with its tasks."""
        workflow = to_workflow(stored)
        for task, one in zip(workflow.tasks, stored.tasks, strict=True):
            self._tell(task, one.record)
        return workflow

    def _tell(self, task: task_pb2.Task, record: TaskRecord) -> None:
        """Say that nobody is there to run a task which could start, and what helps; not when it waits for something else."""
        if record.state != "pending" or record.ready_ms < record.not_before_ms:
            return
        if reason := self.nobody_offers(record.name, record.node):
            task.lacks_replica = True
            task.waiting_reason = f"{reason}; it waits until one is there"

    def nobody_offers(self, name: str, node: str) -> str:
        """Say that no replica offers a task type, and how one is started where that is known; empty when one does."""
        if self._availability.is_available(name):
            return ""
        if self._availability.has_node(node):
            return f"no replica of node {node} offers {name}"
        start = self._starts.get(node)
        return f"no replica of node {node}" + (f": start it with `{start}`" if start else "")
