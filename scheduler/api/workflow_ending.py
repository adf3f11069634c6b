"""Stopping a workflow as one, and deleting it: its tasks, each as by itself, then its record."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

from runtime.errors import TaskNotFound, WrongState, YiVideoError
from scheduler.api.cancellation import Cancellation
from scheduler.api.deletion import Deletion, overall
from scheduler.api.workflow_watching import WorkflowWatch
from scheduler.queue.keys import workflow_record
from scheduler.queue.task_store import TaskStore
from scheduler.queue.workflow_store import WorkflowStore
from yivideo.task.v1 import task_pb2, workflow_pb2

_STOP_SECONDS = 20.0
_AT_ONCE = 8
"""Tasks that are deleted side by side."""


class WorkflowEnding:
    """Cancels and deletes workflows that were submitted as a whole."""

    def __init__(
        self,
        workflows: WorkflowStore,
        tasks: TaskStore,
        watch: WorkflowWatch,
        cancellation: Cancellation,
        deletion: Deletion,
    ) -> None:
        self._workflows = workflows
        self._tasks = tasks
        self._watch = watch
        self._cancellation = cancellation
        self._deletion = deletion

    async def cancel(self, workflow_id: str, reason: str, grace_seconds: float | None) -> None:
        """Stop every task that has not ended. Raises WorkflowNotFound or WrongState."""
        running = await self._workflows.cancel(workflow_id, reason, grace_seconds)
        tell = self._cancellation.tell
        await asyncio.gather(
            *(
                tell(one.task_id, one.address, one.attempt, one.fence, reason, grace_seconds)
                for one in running
            )
        )

    async def delete(
        self, workflow_id: str, user: str, *, force: bool
    ) -> workflow_pb2.DeleteWorkflowResponse:
        """Delete a workflow of `user`, of anybody when that is empty; the record goes last, and only when all else is gone.

        Raises WorkflowNotFound; WrongState when it has not ended and `force` is not set.
        """
        record = await self._workflows.load_record(workflow_id, user)
        answer = workflow_pb2.DeleteWorkflowResponse()
        if not record.ended:
            if not force:
                raise WrongState(
                    f"workflow {workflow_id!r} is {record.state}; cancel it first, or delete it with force"
                )
            if not await self._stop(workflow_id, record.last_sequence):
                answer.record.CopyFrom(
                    _report("failed", f"it was told to stop but has not ended within {_STOP_SECONDS:g} s")
                )
                return _finished(answer)
        if not await self._workflows.begin_deletion(workflow_id):
            raise WrongState(f"workflow {workflow_id!r} goes on again")
        stored = await self._workflows.load(workflow_id, brief=True)
        places = asyncio.Semaphore(_AT_ONCE)

        async def delete_one(task_id: str) -> workflow_pb2.DeletedTask:
            async with places:
                return workflow_pb2.DeletedTask(task_id=task_id, report=await self._delete_task(task_id))

        answer.tasks.extend(await asyncio.gather(*map(delete_one, stored.member_ids.values())))
        answer.record.CopyFrom(await self._delete_record(workflow_id, answer))
        return _finished(answer)

    async def _stop(self, workflow_id: str, sequence: int) -> bool:
        """Cancel and wait for the end, at most 20 s."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                with suppress(WrongState):  # it is ending by itself, or is being cancelled already
                    await self.cancel(workflow_id, "deleted by force", None)
                async with aclosing(self._watch.watch(workflow_id, sequence)) as events:
                    async for _ in events:
                        pass
        except TimeoutError:
            return False
        return (await self._workflows.load_record(workflow_id)).ended

    async def _delete_task(self, task_id: str) -> task_pb2.DeleteTaskResponse:
        try:
            return await self._deletion.delete(task_id, force=False)
        except TaskNotFound:
            gone = task_pb2.DeletedResource(resource="redis", status="skipped", message="it was gone already")
            report = task_pb2.DeleteTaskResponse(status="success", results=[gone])
        except YiVideoError as error:
            report = task_pb2.DeleteTaskResponse(status="failed", results=[_report("failed", error.message)])
        report.delete_time.GetCurrentTime()
        return report

    async def _delete_record(
        self, workflow_id: str, answer: workflow_pb2.DeleteWorkflowResponse
    ) -> task_pb2.DeletedResource:
        if any(one.report.status != "success" for one in answer.tasks):
            # The record is what a second attempt finds the tasks by.
            return _report("skipped", "kept, because its tasks could not all be deleted")
        try:
            outcome = await self._tasks.delete(workflow_record(workflow_id))
        except YiVideoError as error:
            return _report("failed", error.message)
        if outcome == "kept":
            return _report("failed", "the workflow runs again")
        return task_pb2.DeletedResource(
            resource="redis", status="deleted", message="record, events and indexes deleted"
        )


def _report(status: str, message: str) -> task_pb2.DeletedResource:
    return task_pb2.DeletedResource(resource="redis", status=status, message=message, retriable=True)


def _finished(answer: workflow_pb2.DeleteWorkflowResponse) -> workflow_pb2.DeleteWorkflowResponse:
    parts = [resource for one in answer.tasks for resource in one.report.results]
    answer.status = overall([*parts, answer.record])
    answer.delete_time.GetCurrentTime()
    return answer
