"""TaskService of a node against its contract: a real node, alone, through a plain sync client."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nodekit.testkit import NodeUnderTest, to_request
from runtime.structs import from_struct
from tests.contracts.calls import refused
from tests.contracts.conftest import Room
from tests.contracts.contract_node import node
from tests.contracts.laws import RoomLaws, only_of
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SECONDS = 30.0
TASK_SERVICE = task_pb2.DESCRIPTOR.services_by_name["TaskService"]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    folder = tmp_path_factory.mktemp("node")

    @asynccontextmanager
    async def one_node() -> AsyncIterator[str]:
        async with NodeUnderTest(node, folder, slots=1) as running:
            yield running.address

    return one_node


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Any:
    return task_pb2_grpc.TaskServiceStub


def run(stub: Any, task_input: dict[str, Any], **fields: Any) -> list[task_pb2.TaskEvent]:
    return list(stub.RunTask(to_request("contract.say", task_input, **fields), timeout=SECONDS))


class TestLaws(RoomLaws):
    """What every room keeps."""

    service = TASK_SERVICE
    absent = only_of("Scheduler", TASK_SERVICE)


def test_the_contract_names_what_a_node_lacks() -> None:
    """The laws above rest on the comments that say `Scheduler only`."""
    assert {"SubmitTask", "ListTasks", "RetryTask", "DeleteTask", "ListQueues"} <= TestLaws.absent
    assert (
        not {"RunTask", "WatchTask", "GetTask", "CancelTask", "ListTaskTypes", "WatchNode", "FollowAttempts"}
        & TestLaws.absent
    )


def test_a_task_runs_from_the_first_event_to_its_one_result(grpc_stub: Any) -> None:
    """Sequences grow by one, progress never falls, and exactly one terminal event comes last."""
    events = run(grpc_stub, {"text": "hello", "times": 2}, task_id="run-1")
    stored = [event for event in events if event.sequence]
    assert [event.sequence for event in stored] == list(range(1, len(stored) + 1))
    kinds = [event.WhichOneof("event") for event in stored]
    assert kinds[-1] == "completed"
    assert sum(kind in ("completed", "failed", "cancelled", "handed_back") for kind in kinds) == 1
    assert from_struct(stored[-1].completed.output)["said"] == ["hello", "hello"]
    assert all(event.task_id == "run-1" and event.attempt == 1 and event.HasField("time") for event in stored)


def test_an_attempt_that_is_here_is_replayed(grpc_stub: Any) -> None:
    """The same (task, attempt) again gives the same events, after a sequence only the later ones."""
    first = [event for event in run(grpc_stub, {"text": "once"}, task_id="run-2") if event.sequence]
    again = [
        event for event in run(grpc_stub, {"text": "once"}, task_id="run-2", attempt=1) if event.sequence
    ]
    assert again == first
    rest = run(grpc_stub, {"text": "once"}, task_id="run-2", attempt=1, after_sequence=first[-2].sequence)
    assert [event for event in rest if event.sequence] == first[-1:]
    watched = grpc_stub.WatchTask(task_pb2.WatchTaskRequest(task_id="run-2"), timeout=SECONDS)
    assert [event for event in watched if event.sequence] == first
    assert grpc_stub.GetTask(task_pb2.GetTaskRequest(task_id="run-2")).state == task_pb2.TASK_STATE_COMPLETED


def test_a_failure_is_an_event_with_a_stable_code(grpc_stub: Any) -> None:
    """The stream itself ends well: the task failed, the call did not."""
    error = run(grpc_stub, {"text": "x", "fail": True}, task_id="run-3")[-1].failed.error
    assert (error.code, error.message, error.retryable) == ("HOARSE", "cannot speak", True)


@pytest.mark.parametrize(
    ("task_input", "pointer"),
    [({}, "/input/text"), ({"text": 5}, "/input/text"), ({"text": "x", "volume": 11}, "/input/volume")],
)
def test_a_bad_input_is_refused_before_anything_runs(
    grpc_stub: Any, task_input: dict[str, Any], pointer: str
) -> None:
    """INVALID_ARGUMENT with the pointer into the spec, and no attempt is left behind."""
    with refused("INVALID_ARGUMENT", "INVALID_INPUT", pointer=pointer):
        run(grpc_stub, task_input, task_id="bad")
    with refused("NOT_FOUND", "TASK_NOT_FOUND"):
        grpc_stub.GetTask(task_pb2.GetTaskRequest(task_id="bad"), timeout=SECONDS)


def test_what_is_not_here(grpc_stub: Any) -> None:
    """Unknown task names, ids, and attempts to attach to nothing."""
    with refused("INVALID_ARGUMENT", "UNKNOWN_TASK_TYPE"):
        list(grpc_stub.RunTask(to_request("contract.sing", {}), timeout=SECONDS))
    with refused("NOT_FOUND"):
        run(grpc_stub, {"text": "x"}, task_id="nobody", attempt=1, attach_only=True)
    with refused("NOT_FOUND", "TASK_NOT_FOUND"):
        list(grpc_stub.WatchTask(task_pb2.WatchTaskRequest(task_id="nobody"), timeout=SECONDS))
    with refused("NOT_FOUND", "TASK_NOT_FOUND"):
        grpc_stub.CancelTask(task_pb2.CancelTaskRequest(task_id="nobody"), timeout=SECONDS)


def test_a_full_node_refuses_and_a_cancelled_task_ends(grpc_stub: Any) -> None:
    """RESOURCE_EXHAUSTED while the slot is taken, ABORTED for an older fence, FAILED_PRECONDITION for a second cancel."""
    stream = grpc_stub.RunTask(
        to_request("contract.say", {"text": "x", "wait_seconds": 60}, task_id="long", attempt=2, fence=20),
        timeout=SECONDS,
    )
    first = next(stream)
    assert first.task_id == "long"
    events: list[task_pb2.TaskEvent] = []
    reader = threading.Thread(target=lambda: events.extend(stream))
    reader.start()
    with refused("RESOURCE_EXHAUSTED", "NO_FREE_SLOT"):
        run(grpc_stub, {"text": "x"}, task_id="other")
    with refused("ABORTED", "STALE_FENCE"):
        run(grpc_stub, {"text": "x", "wait_seconds": 60}, task_id="long", attempt=1, fence=10)
    status = next(grpc_stub.WatchNode(task_pb2.WatchNodeRequest(), timeout=SECONDS))
    assert (status.node, status.slots, status.free_slots) == ("contract", 1, 0)
    assert [
        (attempt.task_id, attempt.attempt, attempt.fence) for attempt in status.attempts if not attempt.ended
    ] == [("long", 2, 20)]
    grpc_stub.CancelTask(task_pb2.CancelTaskRequest(task_id="long", reason="enough"), timeout=SECONDS)
    reader.join(SECONDS)
    assert events[-1].cancelled.reason == "enough"
    with refused("FAILED_PRECONDITION", "WRONG_STATE"):
        grpc_stub.CancelTask(task_pb2.CancelTaskRequest(task_id="long"), timeout=SECONDS)


def test_task_types_carry_their_schemas(grpc_stub: Any) -> None:
    """A client can build a form from what ListTaskTypes says; another node's list is empty."""
    (kind,) = grpc_stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(), timeout=SECONDS).task_types
    assert (kind.name, kind.node, kind.description) == ("contract.say", "contract", "Says a text.")
    schema = json.loads(kind.input_schema)
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["text"]["description"] == "What to say."
    assert json.loads(kind.output_schema)["properties"]["said"]["type"] == "array"
    other = grpc_stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(node="other"), timeout=SECONDS)
    assert not other.task_types
