"""Tasks as clients see them now: the record, and what only a running scheduler knows beside it."""

from __future__ import annotations

from scheduler.queue.availability import Availability
from scheduler.queue.presenter import StoredTask, to_task
from scheduler.queue.record import TaskRecord
from yivideo.task.v1 import task_pb2


class TaskView:
    """Shows tasks."""

    def __init__(self, availability: Availability) -> None:
        self._availability = availability

    def task(self, stored: StoredTask, *, brief: bool = False) -> task_pb2.Task:
        """Return the task; `brief` leaves out input and output, as listings do."""
        task = to_task(stored, brief=brief)
        if reason := self._nobody(stored.record):
            task.waiting_reason = reason
        return task

    def _nobody(self, record: TaskRecord) -> str:
        """Say that nobody is there to run a task which could start; empty when somebody is, or it waits for something else."""
        if record.state != "pending" or record.ready_ms < record.not_before_ms:
            return ""
        return nobody_offers(self._availability, record.name, record.node)


def nobody_offers(availability: Availability, name: str, node: str) -> str:
    """Say that no replica offers a task type; empty when one does."""
    if availability.is_available(name):
        return ""
    return (
        f"no replica of node {node} offers {name}"
        if availability.has_node(node)
        else f"no replica of node {node}"
    )
