"""A WorkflowService for the gateway's tests that knows no workflow; `tests/gateway/workflows` has a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from runtime.errors import InvalidArgument, WorkflowNotFound
from yivideo.task.v1 import workflow_pb2 as pb
from yivideo.task.v1.task_pb2 import ListDeliveriesResponse
from yivideo.task.v1.workflow_pb2_grpc import WorkflowServiceServicer


def _missing(workflow_id: str) -> WorkflowNotFound:
    return WorkflowNotFound(f"no workflow {workflow_id!r}")


class FakeWorkflows(WorkflowServiceServicer):
    """Answers as a scheduler does that has no workflow and takes none."""

    async def SubmitWorkflow(self, request: pb.SubmitWorkflowRequest, context: Any) -> pb.Workflow:
        """Refuse it."""
        raise InvalidArgument("this scheduler takes no workflows")

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Any) -> pb.Workflow:
        """Say that it is not there."""
        raise _missing(request.workflow_id)

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Any) -> pb.ListWorkflowsResponse:
        """List none."""
        return pb.ListWorkflowsResponse()

    async def CancelWorkflow(self, request: pb.CancelWorkflowRequest, context: Any) -> pb.Workflow:
        """Say that it is not there."""
        raise _missing(request.workflow_id)

    async def RetryWorkflow(self, request: pb.RetryWorkflowRequest, context: Any) -> pb.Workflow:
        """Say that it is not there."""
        raise _missing(request.workflow_id)

    async def WatchWorkflow(
        self, request: pb.WatchWorkflowRequest, context: Any
    ) -> AsyncIterator[pb.WorkflowEvent]:
        """Say that it is not there."""
        events: list[pb.WorkflowEvent] = []
        for event in events:
            yield event
        raise _missing(request.workflow_id)

    async def DeleteWorkflow(
        self, request: pb.DeleteWorkflowRequest, context: Any
    ) -> pb.DeleteWorkflowResponse:
        """Say that it is not there."""
        raise _missing(request.workflow_id)

    async def ListWorkflowDeliveries(
        self, request: pb.ListWorkflowDeliveriesRequest, context: Any
    ) -> ListDeliveriesResponse:
        """Say that it is not there."""
        raise _missing(request.workflow_id)

    async def RedeliverWorkflowCallback(
        self, request: pb.RedeliverWorkflowCallbackRequest, context: Any
    ) -> pb.Workflow:
        """Say that it is not there."""
        raise _missing(request.workflow_id)
