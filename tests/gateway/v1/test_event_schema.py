"""One schema for an event of a task, wherever it is read: a stream, a page, the feed over many tasks."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import orjson
import pytest

from gateway.v1 import task_events
from gateway.v1.links import file_url
from runtime.structs import to_struct
from tests.gateway.conftest import Harness
from yivideo.task.v1 import task_pb2 as pb

ERROR = pb.TaskError(code="WORKER_LOST", message="the node was lost", retryable=True)
FILE = pb.OutputFile(name="a.wav", bucket="b", path="t1/a.wav", type="audio", size_bytes=3, sha256="ab")

CASES: dict[str, list[dict[str, Any]]] = {
    "accepted": [{"accepted": pb.TaskAccepted()}, {"accepted": pb.TaskAccepted(state=pb.TASK_STATE_BLOCKED)}],
    "started": [{"started": pb.TaskStarted(node="ffmpeg", replica="r1")}],
    "progress": [
        {"progress": pb.Progress()},
        {"progress": pb.Progress(percent=12.345, stage="decode", message="half", data=to_struct({"n": 1}))},
    ],
    "log": [{"log": pb.TaskLog(level="info", message="a line")}],
    "heartbeat": [{"heartbeat": pb.Heartbeat()}],
    "waiting_for_gpu": [{"waiting_for_gpu": pb.WaitingForGpu(position=2, memory_mib=100)}],
    "retrying": [
        {"retrying": pb.TaskRetrying(error=ERROR)},
        {"retrying": pb.TaskRetrying(error=ERROR, state=pb.TASK_STATE_BLOCKED)},
    ],
    "cancelling": [{"cancelling": pb.TaskCancelling()}, {"cancelling": pb.TaskCancelling(reason="no")}],
    "gap": [
        {"gap": pb.EventGap(snapshot=pb.Task(spec=pb.TaskSpec(task_id="t1"), state=pb.TASK_STATE_RUNNING))}
    ],
    "completed": [
        {"completed": pb.TaskCompleted()},
        {"completed": pb.TaskCompleted(output=to_struct({"a": [1]}), files=[FILE], skipped=True)},
    ],
    "failed": [{"failed": pb.TaskFailed(error=ERROR, duration_seconds=1.23456)}],
    "cancelled": [{"cancelled": pb.TaskCancelled(reason="no", duration_seconds=2)}],
}


def told(fields: dict[str, Any]) -> dict[str, Any]:
    """The event as a stream carries it."""
    event = pb.TaskEvent(task_id="t1", attempt=1, sequence=7, **fields)
    event.time.FromSeconds(1_700_000_000)
    if "gap" in fields:
        event.gap.snapshot.create_time.FromSeconds(1_700_000_000)
        event.gap.snapshot.update_time.FromSeconds(1_700_000_000)
    *_, data = task_events.frame(event, file_url("http://g")).decode().strip().split("\n")
    body: dict[str, Any] = orjson.loads(data.removeprefix("data: "))
    return body


@pytest.mark.trial("10.11")
async def test_every_kind_of_event_fits_the_one_schema(harness: Harness) -> None:
    """Each kind, with its fields set and unset, is a TaskEvent of the description, which allows no other field."""
    async with harness.http.get("/openapi.json") as response:
        document = await response.json()
    schema = {"$ref": "#/components/schemas/TaskEvent", "components": document["components"]}
    validator = jsonschema_rs.validator_for(schema)
    assert set(CASES) == set(task_events.VIEWS)
    assert set(document["components"]["schemas"]["TaskEvent"]["discriminator"]["mapping"]) == set(CASES)
    for kind, cases in CASES.items():
        for fields in cases:
            body = told(fields)
            validator.validate(body)
            assert body["event"] == kind
            assert "1970" not in orjson.dumps(body).decode(), "an instant that is not known is null"
            assert not validator.is_valid({**body, "surprise": 1}), kind
    content = document["paths"]["/v1/tasks/{task_id}/events"]["get"]["responses"]["200"]["content"]
    assert content["text/event-stream"]["schema"]["contentSchema"] == {
        "$ref": "#/components/schemas/TaskEvent"
    }
    page = document["components"]["schemas"]["EventPage"]["properties"]["events"]
    assert page["items"] == {"$ref": "#/components/schemas/TaskEvent"}


@pytest.mark.trial("10.11")
def test_a_failure_is_told_in_one_form_and_moves_say_where_the_task_is() -> None:
    """`retrying` and `failed` carry error and error_detail as results do; what moves a task has its status and state."""
    moves = {
        "accepted": [("pending", "pending"), ("pending", "blocked")], "started": [("running", "running")],
        "retrying": [("pending", "pending"), ("pending", "blocked")],
        "cancelling": [("running", "cancelling")] * 2, "completed": [("completed", "completed"), ("completed", "skipped")],
        "failed": [("failed", "failed")], "cancelled": [("cancelled", "cancelled")],
    }  # fmt: skip
    for kind, cases in CASES.items():
        states = [(body.get("status"), body.get("state")) for body in map(told, cases)]
        assert states == moves.get(kind, [(None, None)] * len(cases)), kind
    for kind in ("retrying", "failed"):
        body = told(CASES[kind][0])
        assert body["error"] == "WORKER_LOST: the node was lost"
        assert body["error_detail"] == {
            "code": "WORKER_LOST", "message": "the node was lost", "field": "", "retryable": True,
        }  # fmt: skip
    assert told(CASES["retrying"][0])["next_time"] is None
    again = pb.TaskRetrying(error=ERROR)
    again.next_time.FromSeconds(1_700_000_060)
    assert told({"retrying": again})["next_time"] == "2023-11-14T22:14:20Z"
