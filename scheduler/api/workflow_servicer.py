# ruff: noqa: N802 - the contract names the methods
"""WorkflowService: unpacks a request, calls one part of the scheduler, packs the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from runtime.errors import Draining, InvalidArgument, PermissionDenied, WorkflowNotFound
from runtime.rpc_errors import clip
from scheduler.queue.keys import workflow_record
from scheduler.queue.presenter import STATES, from_milliseconds
from scheduler.queue.workflow_plan import AdmittedWorkflow, within
from scheduler.queue.workflow_store import StoredWorkflow
from yivideo.task.v1 import task_pb2, workflow_pb2, workflow_pb2_grpc

if TYPE_CHECKING:
    from scheduler.app import Scheduler

_REASON_BYTES = 500
_MAX_GRACE_SECONDS = 60


class WorkflowServicer(workflow_pb2_grpc.WorkflowServiceServicer):
    """The scheduler's face to clients that ask for workflows."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def SubmitWorkflow(
        self, request: workflow_pb2.SubmitWorkflowRequest, context: Any
    ) -> workflow_pb2.Workflow:
        """Store a workflow. It is not broken off when the client leaves meanwhile."""
        return await asyncio.shield(self._submit(request.spec))

    async def _submit(self, spec: workflow_pb2.WorkflowSpec) -> workflow_pb2.Workflow:
        scheduler = self._scheduler
        if scheduler.draining.is_set():
            raise Draining("this scheduler is shutting down")
        admitted = await scheduler.workflow_admission.admit(spec)
        await self._look_for_inputs(admitted)
        outcome = await scheduler.workflows.submit(admitted)
        for node in {task.node for task in admitted.tasks}:
            scheduler.dispatcher.want(node)
        stored = await scheduler.workflows.load(admitted.spec.workflow_id)
        workflow = scheduler.view.workflow(stored)
        if outcome == "existing":
            workflow.reuse.CopyFrom(_reuse(stored))
        return workflow

    async def _look_for_inputs(self, admitted: AdmittedWorkflow) -> None:
        """Refuse a new workflow whose files are not there for its user; a repetition finds its workflow all the same."""
        scheduler = self._scheduler
        try:
            for index, task in enumerate(admitted.tasks):
                kind = scheduler.types.find(task.spec.task_name)
                if kind is None or task.sources:
                    continue
                wanted = scheduler.input_files.wanted(task.spec, kind.input_schema)
                try:
                    await scheduler.input_files.check(task.spec, wanted)
                except InvalidArgument as error:
                    raise within(error, f"/tasks/{index}/spec") from None
        except InvalidArgument:
            with suppress(WorkflowNotFound):
                await scheduler.workflows.load_record(admitted.spec.workflow_id, admitted.spec.user)
                return
            raise

    async def GetWorkflow(
        self, request: workflow_pb2.GetWorkflowRequest, context: Any
    ) -> workflow_pb2.Workflow:
        """Return one workflow."""
        return self._scheduler.view.workflow(
            await self._scheduler.workflows.load(request.workflow_id, request.user)
        )

    async def ListWorkflows(
        self, request: workflow_pb2.ListWorkflowsRequest, context: Any
    ) -> workflow_pb2.ListWorkflowsResponse:
        """Return a page of workflows."""
        return await self._scheduler.workflow_listing.page(request)

    async def CancelWorkflow(
        self, request: workflow_pb2.CancelWorkflowRequest, context: Any
    ) -> workflow_pb2.Workflow:
        """Stop a workflow."""
        grace = request.grace_seconds if request.HasField("grace_seconds") else None
        if grace is not None and not 0 <= grace <= _MAX_GRACE_SECONDS:
            raise InvalidArgument.at("/grace_seconds", f"must be 0 to {_MAX_GRACE_SECONDS}")
        scheduler, reason = self._scheduler, clip(request.reason, _REASON_BYTES)
        await scheduler.workflows.load_record(request.workflow_id, request.user)
        await scheduler.workflow_ending.cancel(request.workflow_id, reason, grace)
        return scheduler.view.workflow(await scheduler.workflows.load(request.workflow_id))

    async def RetryWorkflow(
        self, request: workflow_pb2.RetryWorkflowRequest, context: Any
    ) -> workflow_pb2.Workflow:
        """Let an ended workflow go on."""
        workflows = self._scheduler.workflows
        await workflows.load_record(request.workflow_id, request.user)
        stored = await workflows.load(request.workflow_id, brief=True)
        if not request.all_files and any(task.spec.all_files for task in stored.spec.tasks):
            raise PermissionDenied(
                f"workflow {request.workflow_id!r} was submitted with the scope files:all, and goes on with it only"
            )
        task_ids = _downstream(stored, list(request.from_keys)) if request.from_keys else []
        await workflows.retry(request.workflow_id, task_ids)
        return self._scheduler.view.workflow(await workflows.load(request.workflow_id))

    async def DeleteWorkflow(
        self, request: workflow_pb2.DeleteWorkflowRequest, context: Any
    ) -> workflow_pb2.DeleteWorkflowResponse:
        """Remove a workflow. It is not broken off when the client leaves meanwhile."""
        ending = self._scheduler.workflow_ending
        return await asyncio.shield(ending.delete(request.workflow_id, request.user, force=request.force))

    async def ListWorkflowDeliveries(
        self, request: workflow_pb2.ListWorkflowDeliveriesRequest, context: Any
    ) -> task_pb2.ListDeliveriesResponse:
        """Return the log of a workflow's callback."""
        scheduler = self._scheduler
        await scheduler.workflows.load_record(
            request.workflow_id, request.user
        )  # there is one, and it is the user's
        return await scheduler.outbox.deliveries(workflow_record(request.workflow_id))

    async def RedeliverWorkflowCallback(
        self, request: workflow_pb2.RedeliverWorkflowCallbackRequest, context: Any
    ) -> workflow_pb2.Workflow:
        """Send a callback again."""
        scheduler = self._scheduler
        await scheduler.workflows.load_record(request.workflow_id, request.user)
        await scheduler.outbox.redeliver(workflow_record(request.workflow_id))
        scheduler.delivery.want()
        return scheduler.view.workflow(await scheduler.workflows.load(request.workflow_id))

    async def WatchWorkflow(
        self, request: workflow_pb2.WatchWorkflowRequest, context: Any
    ) -> AsyncIterator[workflow_pb2.WorkflowEvent]:
        """Stream a workflow's events."""
        await self._scheduler.workflows.load_record(request.workflow_id, request.user)
        watching = self._scheduler.workflow_watch.watch(request.workflow_id, request.after_sequence)
        async with aclosing(watching) as events:
            async for event in events:
                yield event


def _reuse(stored: StoredWorkflow) -> task_pb2.Reuse:
    record = stored.record
    assert record is not None
    reuse = task_pb2.Reuse(hit=True, source="redis")
    if record.ended:
        reuse.cached_time.CopyFrom(from_milliseconds(record.end_ms))
    else:
        reuse.state = task_pb2.TaskState.Name(STATES[record.state]).removeprefix("TASK_STATE_").lower()
    return reuse


def _downstream(stored: StoredWorkflow, keys: list[str]) -> list[str]:
    """Return the ids of the tasks of these keys and of all that depend on them. Raises InvalidArgument."""
    ids = stored.member_ids
    for index, key in enumerate(keys):
        if key not in ids:
            raise InvalidArgument.at(
                f"/from_keys/{index}", f"the workflow has no task of this key; it has {', '.join(ids)}"
            )
    chosen = {ids[key] for key in keys}
    waiting = {task.record.task_id: task.record.depends_on for task in stored.tasks}
    while more := {task_id for task_id, needed in waiting.items() if needed & chosen} - chosen:
        chosen |= more
    return [task_id for task_id in ids.values() if task_id in chosen]
