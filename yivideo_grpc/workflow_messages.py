"""Workflows between a client's words, which are those of REST, and the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.states import STATUS
from results.workflow_context import workflow_context
from yivideo.file.v1 import file_pb2
from yivideo.task.v1 import workflow_pb2
from yivideo_client.models import Event
from yivideo_client.workflow_models import Workflow
from yivideo_grpc.messages import stored_at, to_event, to_spec


def to_workflow_spec(
    workflow_id: str, tasks: list[dict[str, Any]], caller: file_pb2.Caller, options: Mapping[str, Any]
) -> workflow_pb2.WorkflowSpec:
    """Write a submission, whose fields are those of POST /v1/workflows. Raises TypeError for one that there is not."""
    given = dict(options)
    spec = workflow_pb2.WorkflowSpec(
        workflow_id=workflow_id,
        user=caller.user,
        callback_url=given.pop("callback", None) or "",
        labels=given.pop("labels", None) or {},
    )
    if given:
        raise TypeError(f"a workflow has no {', '.join(sorted(given))}")
    for task in tasks:
        key = task.pop("key", None) or task["task_name"].partition(".")[2]
        made = to_spec({"task_id": "", "input_data": {}, **task}, caller)
        made.ClearField("user")  # it is the workflow's
        spec.tasks.add(key=key, spec=made)
    return spec


def to_workflow(workflow: workflow_pb2.Workflow) -> Workflow:
    """Return a workflow as REST answers it."""
    body = workflow_context(workflow, stored_at)
    if workflow.HasField("reuse"):
        body["reuse_info"] = {"reuse_hit": workflow.reuse.hit}
    return Workflow.from_answer(body)


def to_workflow_event(event: workflow_pb2.WorkflowEvent) -> Event | None:
    """Return an event as the streams of REST show it; None for one that is not for clients."""
    common = {
        "workflow_id": event.workflow_id,
        "workflow_sequence": event.sequence,
        "time": event.time.ToJsonString(),
    }
    more: dict[str, Any]
    match event.WhichOneof("event"):
        case "task_event":
            inner = to_event(event.task_event)
            return inner and Event(
                inner.name,
                event.sequence,
                {**inner.data, "workflow_id": event.workflow_id, "workflow_sequence": event.sequence},
            )
        case "accepted":
            name, more = "workflow_accepted", {"tasks": event.accepted.task_count}
        case "cancelling":
            name, more = "workflow_cancelling", {"reason": event.cancelling.reason}
        case "retrying":
            name, more = "workflow_retrying", {}
        case "ended":
            status = STATUS[event.ended.state]
            name, more = f"workflow_{status}", {"status": status}
        case "gap":
            gap = event.gap
            name, more = (
                "gap",
                {
                    "first_missing_sequence": gap.first_missing_sequence,
                    "last_missing_sequence": gap.last_missing_sequence,
                    "snapshot": workflow_context(gap.snapshot, stored_at),
                },
            )
        case _:
            return None
    return Event(name, event.sequence, {"event": name, **common, **more})
