"""/v1/workflows/{workflow_id}/events: what happens to a workflow and all of its tasks, as one resumable stream."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from aiohttp import web

from gateway.access import viewer
from gateway.clients.workflow_watch import WorkflowWatch
from gateway.http.application import DRAINING
from gateway.http.route import EVENT_STREAM, Content, Route
from gateway.http.sse import LAST_EVENT_ID, EventWriter, stream, written
from gateway.installation import BACKEND, SETTINGS, SLOTS
from gateway.settings import Scope
from gateway.use import states
from gateway.use.instants import instant
from gateway.use.workflows import only_user
from gateway.v1.links import links
from gateway.v1.requests import EventsQuery
from gateway.v1.routes.events import resume_position
from gateway.v1.task_events import shown
from results.node_result import FileUrl
from results.states import TERMINAL
from results.workflow_context import workflow_context
from runtime.errors import Draining, WorkflowNotFound
from yivideo.task.v1 import workflow_pb2

Event = workflow_pb2.WorkflowEvent


async def watch_workflow(request: web.Request) -> web.StreamResponse:
    """Stream a workflow's events until it has ended, those of all of its tasks among them.

    A task's events look as they do in its own stream, with `workflow_id` and `workflow_sequence`; the workflow's own are
    `workflow_accepted`, `workflow_cancelling`, `workflow_retrying`, `workflow_completed`, `workflow_failed` and
    `workflow_cancelled`. `id:` is the workflow's sequence: send it back as `Last-Event-ID` (browsers do) or as `after`. Events that
    are no longer kept come as one `gap` with the workflow as it is. A reconnect behind the end is answered 204.
    """
    after = resume_position(request)
    user = only_user(viewer(request))
    workflow_id = request.match_info["workflow_id"]
    if request.app[DRAINING].is_set():
        raise Draining("this server is shutting down", retry_after_seconds=1)
    with request.app[SLOTS].take():
        backend = request.app[BACKEND]
        wanted = workflow_pb2.GetWorkflowRequest(workflow_id=workflow_id, user=user)
        workflow = await backend.read(backend.workflows.GetWorkflow, wanted)
        if not workflow.last_sequence:
            raise WorkflowNotFound(
                f"the tasks of workflow {workflow_id!r} were submitted one by one; each has events of its own"
            )
        if workflow.state in TERMINAL and after == workflow.last_sequence:
            return web.Response(status=204)
        return await _stream(request, WorkflowWatch(backend, workflow_id, user, after))


async def _stream(request: web.Request, watch: WorkflowWatch) -> web.StreamResponse:
    settings, url = request.app[SETTINGS], links(request)

    async def write_all(response: web.StreamResponse) -> None:
        writer: EventWriter[Event] = EventWriter(
            response,
            lambda event: frame(event, url),
            ping_seconds=settings.ping_seconds,
            stalled_seconds=settings.stalled_client_seconds,
        )
        async with aclosing(watch.events()) as events:
            await writer.run(events, request.app[DRAINING])

    return await stream(request, write_all)


def frame(event: Event, url: FileUrl) -> bytes:
    """Write one event; empty for one that clients do not see. Only stored events carry an id to resume from."""
    data = _shown(event, url)
    if data is None:
        return b""
    return written(data["event"], data, str(event.sequence) if event.sequence else "")


def _shown(event: Event, url: FileUrl) -> dict[str, Any] | None:
    kind = event.WhichOneof("event")
    if kind == "task_event":
        view = shown(event.task_event, url)
        if view is None:
            return None
        return view.model_dump(exclude_unset=True) | {
            "workflow_id": event.workflow_id,
            "workflow_sequence": event.sequence,
        }
    common = {
        "workflow_id": event.workflow_id,
        "workflow_sequence": event.sequence,
        "time": instant(event.time),
    }
    match kind:
        case "accepted":
            return {"event": "workflow_accepted", **common, "tasks": event.accepted.task_count}
        case "cancelling":
            return {"event": "workflow_cancelling", **common, "reason": event.cancelling.reason}
        case "retrying":
            return {"event": "workflow_retrying", **common}
        case "ended":
            status = states.STATUS[event.ended.state]
            return {"event": f"workflow_{status}", **common, "status": status}
        case "gap":
            gap = event.gap
            return {
                "event": "gap",
                **common,
                "first_missing_sequence": gap.first_missing_sequence,
                "last_missing_sequence": gap.last_missing_sequence,
                "snapshot": workflow_context(gap.snapshot, url),
            }
    return None


ROUTES = (
    Route(
        method="GET", path="/v1/workflows/{workflow_id}/events", handler=watch_workflow, tag="workflows", scope=Scope.TASKS,
        query=EventsQuery, answers={200: Content(EVENT_STREAM, {"type": "string"}), 204: None}, faults=(404,),
        headers={LAST_EVENT_ID: "Sequence of the last event seen; the stream goes on behind it."},
    ),
)  # fmt: skip
