"""Cancelling a task: the mark in its record, and the message to the node that runs it."""

from __future__ import annotations

from scheduler.queue.task_store import TaskStore
from scheduler.run.dispatcher import Dispatcher
from yivideo.task.v1 import task_pb2


class Cancellation:
    """Cancels tasks, wherever their attempts are looked after."""

    def __init__(self, tasks: TaskStore, dispatcher: Dispatcher) -> None:
        self._tasks = tasks
        self._dispatcher = dispatcher

    async def cancel(self, task_id: str, reason: str, grace_seconds: float | None) -> None:
        """Stop a task. Raises TaskNotFound, or WrongState when it has ended or is being cancelled already.

        The mark alone is enough: whoever holds the attempt's stream is told with its next beat. The call made here only saves
        that time.
        """
        cancelled = await self._tasks.cancel(task_id, reason, grace_seconds)
        if cancelled.ended:
            return
        await self.tell(task_id, cancelled.address, cancelled.attempt, cancelled.fence, reason, grace_seconds)

    async def tell(
        self, task_id: str, address: str, attempt: int, fence: int, reason: str, grace_seconds: float | None
    ) -> None:
        """Tell the node that runs a marked task. Nothing is raised."""
        runner = self._dispatcher.runner(task_id)
        if runner is not None:
            await runner.stop(reason, grace_seconds)
            return
        request = task_pb2.CancelTaskRequest(task_id=task_id, reason=reason, attempt=attempt, fence=fence)
        if grace_seconds is not None:
            request.grace_seconds = grace_seconds
        await self._dispatcher.stop_remote(address, request)
