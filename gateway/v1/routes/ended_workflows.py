"""/v1/workflows/{workflow_id}/delete, /deliveries, /redeliver: what is done about a workflow that has ended."""

from __future__ import annotations

from aiohttp import web

from gateway.access import viewer
from gateway.http.answer import answer
from gateway.http.body import read_body
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND
from gateway.settings import Scope
from gateway.use.instants import instant
from gateway.use.workflows import only_user
from gateway.v1 import presenter
from gateway.v1.answers import workflows as answers
from gateway.v1.requests import DeleteTaskBody
from gateway.v1.routes.workflows import context_of
from yivideo.task.v1 import workflow_pb2


async def delete_workflow(request: web.Request) -> web.StreamResponse:
    """Delete a workflow: its tasks with what they stored, then its record, with a report on each.

    400 when it has not ended and is not forced.
    """
    read_query(request, NoQuery)
    body = await read_body(request, DeleteTaskBody, optional=True)
    backend, workflow_id = request.app[BACKEND], request.match_info["workflow_id"]
    wanted = workflow_pb2.DeleteWorkflowRequest(
        workflow_id=workflow_id, force=body.force, user=only_user(viewer(request))
    )
    report = await backend.change(backend.workflows.DeleteWorkflow, wanted)
    return answer(
        answers.DeleteWorkflowReport(
            workflow_id=workflow_id,
            status=report.status,
            tasks=[
                answers.DeletedTask(task_id=one.task_id, report=presenter.delete_report(one.report))
                for one in report.tasks
            ],
            record=presenter.deleted_resource(report.record),
            timestamp=instant(report.delete_time),
        )
    )


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    """List the attempts to deliver a workflow's callback, oldest first."""
    read_query(request, NoQuery)
    backend, workflow_id = request.app[BACKEND], request.match_info["workflow_id"]
    wanted = workflow_pb2.ListWorkflowDeliveriesRequest(
        workflow_id=workflow_id, user=only_user(viewer(request))
    )
    found = await backend.read(backend.workflows.ListWorkflowDeliveries, wanted)
    return answer(answers.WorkflowDeliveries(workflow_id=workflow_id, **presenter.deliveries(found)))


async def redeliver(request: web.Request) -> web.StreamResponse:
    """Send an ended workflow's callback again, now. 400 when it has not ended or has no callback."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    wanted = workflow_pb2.RedeliverWorkflowCallbackRequest(
        workflow_id=request.match_info["workflow_id"], user=only_user(viewer(request))
    )
    workflow = await backend.change(backend.workflows.RedeliverWorkflowCallback, wanted)
    return answer(context_of(workflow, request), status=202)


_ONE = "/v1/workflows/{workflow_id}"

ROUTES = (
    Route(method="POST", path=_ONE + "/delete", handler=delete_workflow, tag="workflows", scope=Scope.TASKS,
          body=DeleteTaskBody, body_optional=True, answers={200: answers.DeleteWorkflowReport}, faults=(404,)),
    Route(method="GET", path=_ONE + "/deliveries", handler=list_deliveries, tag="callbacks", scope=Scope.TASKS,
          answers={200: answers.WorkflowDeliveries}, faults=(404,)),
    Route(method="POST", path=_ONE + "/redeliver", handler=redeliver, tag="callbacks", scope=Scope.TASKS,
          answers={202: answers.WorkflowContext}, faults=(404,)),
)  # fmt: skip
