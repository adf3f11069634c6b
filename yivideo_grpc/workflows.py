"""Workflows over the scheduler's WorkflowService; the methods are those of `yivideo_client.workflows.Workflows`.

Templates are the gateway's: here a workflow is made of tasks.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.states import STATUS, state_word
from runtime.streamed import streamed
from yivideo.file.v1 import file_pb2
from yivideo.task.v1 import workflow_pb2, workflow_pb2_grpc
from yivideo_client.errors import WaitTimeout
from yivideo_client.models import Event
from yivideo_client.running import FileCalls
from yivideo_client.tries import FAULTS, Broken
from yivideo_client.workflow_models import WORKFLOW_ENDS, Workflow, result_files
from yivideo_client.workflow_running import RunningWorkflows
from yivideo_grpc.calls import CALL_SECONDS, Calls
from yivideo_grpc.faults import told
from yivideo_grpc.messages import to_deleted, to_report
from yivideo_grpc.workflow_messages import to_workflow, to_workflow_event, to_workflow_spec

_PAGE_SIZE = 100


class GrpcWorkflows(RunningWorkflows):
    """The workflows of one installation, as one user sees them."""

    def __init__(
        self,
        stub: workflow_pb2_grpc.WorkflowServiceAsyncStub,
        caller: file_pb2.Caller,
        calls: Calls,
        files: FileCalls | None = None,
    ) -> None:
        if files is not None:
            self._files = files
        self._stub = stub
        self._caller = caller
        self._calls = calls
        self._user = "" if caller.all_files else caller.user
        """Whose are seen; empty: everybody's."""

    async def submit_tasks(
        self,
        tasks: Sequence[Mapping[str, Any]],
        *,
        workflow_id: str | None = None,
        wait_seconds: int = 0,
        **options: Any,
    ) -> Workflow:
        """See `Workflows.submit_tasks`."""
        made = workflow_id or f"workflow-{uuid.uuid4()}"
        async with told():  # an input that no Struct can hold is refused here
            spec = to_workflow_spec(made, [dict(one) for one in tasks], self._caller, options)
        request = workflow_pb2.SubmitWorkflowRequest(spec=spec)
        workflow = to_workflow(
            await self._calls.make(lambda: self._stub.SubmitWorkflow(request, timeout=CALL_SECONDS))
        )
        if not wait_seconds or workflow.ended:
            return workflow
        try:
            return await self.wait(made, wait_seconds)
        except WaitTimeout:
            return await self.get(made)

    async def get(self, workflow_id: str) -> Workflow:
        """See `Workflows.get`."""
        request = workflow_pb2.GetWorkflowRequest(workflow_id=workflow_id, user=self._user)
        return to_workflow(
            await self._calls.make(lambda: self._stub.GetWorkflow(request, timeout=CALL_SECONDS))
        )

    async def wait(self, workflow_id: str, timeout_seconds: float | None = None) -> Workflow:
        """See `Workflows.wait`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                async for _ in self.watch(workflow_id):
                    pass
        except TimeoutError:
            workflow = await self.get(workflow_id)
            if not workflow.ended:
                raise WaitTimeout(
                    f"{workflow_id} had not ended after {timeout_seconds:g} s: it is {workflow.state}"
                ) from None
            return workflow
        return await self.get(workflow_id)

    async def watch(self, workflow_id: str, after: int = 0) -> AsyncIterator[Event]:
        """See `Workflows.watch`."""
        tries = self._calls.tries()
        while True:
            seems_over = False
            try:
                async with told():
                    request = workflow_pb2.WatchWorkflowRequest(
                        workflow_id=workflow_id, after_sequence=after, user=self._user
                    )
                    with streamed(self._stub.WatchWorkflow(request)) as call:
                        async for message in call:
                            tries.progressed()
                            after = message.sequence or after
                            event = to_workflow_event(message)
                            if event is not None and event.name != "heartbeat":
                                yield event
                                seems_over = event.name in WORKFLOW_ENDS
                # What has ended may have been let go on meanwhile.
                now = await self.get(workflow_id)
                if now.ended and after >= now.raw["last_sequence"]:
                    return
                if seems_over:
                    continue
                fault: Exception = Broken("the event stream ended")
            except FAULTS as raised:
                fault = raised
            await tries.after(fault)

    async def cancel(self, workflow_id: str) -> Workflow:
        """See `Workflows.cancel`."""
        request = workflow_pb2.CancelWorkflowRequest(
            workflow_id=workflow_id, user=self._user, reason=f"cancelled by {self._caller.user}"
        )
        return to_workflow(
            await self._calls.make(
                lambda: self._stub.CancelWorkflow(request, timeout=CALL_SECONDS), repeatable=False
            )
        )

    async def retry(self, workflow_id: str, from_tasks: Sequence[str] = ()) -> Workflow:
        """See `Workflows.retry`."""
        request = workflow_pb2.RetryWorkflowRequest(
            workflow_id=workflow_id,
            from_keys=from_tasks,
            user=self._user,
            all_files=self._caller.all_files,
        )
        return to_workflow(
            await self._calls.make(
                lambda: self._stub.RetryWorkflow(request, timeout=CALL_SECONDS), repeatable=False
            )
        )

    async def delete(self, workflow_id: str, *, force: bool = False) -> dict[str, Any]:
        """See `Workflows.delete`."""
        request = workflow_pb2.DeleteWorkflowRequest(workflow_id=workflow_id, force=force, user=self._user)
        report = await self._calls.make(
            lambda: self._stub.DeleteWorkflow(request, timeout=CALL_SECONDS), repeatable=False
        )
        return {
            "workflow_id": workflow_id,
            "status": report.status,
            "tasks": [{"task_id": one.task_id, "report": to_report(one.report)} for one in report.tasks],
            "record": to_deleted(report.record),
        }

    async def fetch_results(self, workflow: Workflow, folder: Path, *, every: bool = False) -> list[Path]:
        """See `Workflows.fetch_results`; without templates all files that its tasks stored, whatever `every` says."""
        return await self._fetched(result_files(workflow, None), folder)

    async def list(self, **conditions: Any) -> AsyncIterator[Workflow]:
        """See `Workflows.list`: `status`, `page_size`."""
        words = {word for word in str(conditions.get("status") or "").split(",") if word}
        request = workflow_pb2.ListWorkflowsRequest(
            user=self._user or conditions.get("user") or "",
            states=[state for state in STATUS if {STATUS[state], state_word(state)} & words],
            page_size=conditions.get("page_size") or _PAGE_SIZE,
        )
        while True:
            page = await self._calls.make(lambda: self._stub.ListWorkflows(request, timeout=CALL_SECONDS))
            for workflow in page.workflows:
                yield to_workflow(workflow)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
