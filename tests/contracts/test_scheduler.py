"""TaskService of the scheduler against its contract: a real scheduler, Redis and node, through a plain sync client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from nodekit.testkit import NodeUnderTest
from runtime.settings import RuntimeSection
from runtime.structs import from_struct, to_struct
from scheduler.app import scheduling
from scheduler.settings import LimitsSection, NodeSection, SchedulerSection, SchedulerSettings
from tests.contracts.calls import details_of, refused
from tests.contracts.conftest import Room
from tests.contracts.contract_node import node
from tests.contracts.laws import RoomLaws, only_of
from yivideo.keda.v1 import external_scaler_pb2
from yivideo.task.v1 import task_pb2, task_pb2_grpc, workflow_pb2

SECONDS = 30.0
WORKFLOW_SERVICE = workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"]
SCALER_SERVICE = external_scaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"]
TASK_SERVICE = task_pb2.DESCRIPTOR.services_by_name["TaskService"]
MOST_QUEUED = 50


@pytest.fixture(scope="module")
def room(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Room:
    folder = tmp_path_factory.mktemp("node")

    @asynccontextmanager
    async def scheduler_and_node() -> AsyncIterator[str]:
        async with NodeUnderTest(node, folder, slots=4) as running:
            section = SchedulerSection(
                redis_url=SecretStr(redis_url),
                key_prefix="{contracts}:",
                nodes=(NodeSection(node="contract", addresses=(running.address,)),),
                limits=LimitsSection(max_queued_per_user=MOST_QUEUED),
            )
            settings = SchedulerSettings(
                runtime=RuntimeSection(metrics_listen="", drain_seconds=0.2), scheduler=section
            )
            async with scheduling(settings) as (_, _, address):
                yield address

    return scheduler_and_node


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Any:
    return task_pb2_grpc.TaskServiceStub


@pytest.fixture(scope="module")
def stub(grpc_stub: Any) -> Any:
    """The scheduler's stub, once it has heard of the node's task types."""
    deadline = time.monotonic() + SECONDS
    while not grpc_stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(), timeout=SECONDS).task_types:
        assert time.monotonic() < deadline, "the node's task types never came"
        time.sleep(0.02)
    return grpc_stub


def spec(task_id: str = "", **fields: Any) -> task_pb2.TaskSpec:
    """A task that says something; `input` and further fields can be given."""
    task_input = fields.pop("input", {"text": "hello"})
    return task_pb2.TaskSpec(
        task_id=task_id,
        input=to_struct(task_input),
        **{"task_name": "contract.say", **fields},
    )


def submit(stub: Any, task_id: str = "", **fields: Any) -> task_pb2.Task:
    request = task_pb2.SubmitTaskRequest(spec=spec(task_id, **fields))
    task: task_pb2.Task = stub.SubmitTask(request, timeout=SECONDS)
    return task


def run(stub: Any, task_id: str = "", **fields: Any) -> list[task_pb2.TaskEvent]:
    return list(stub.RunTask(task_pb2.RunTaskRequest(spec=spec(task_id, **fields)), timeout=SECONDS))


def get(stub: Any, task_id: str) -> task_pb2.Task:
    task: task_pb2.Task = stub.GetTask(task_pb2.GetTaskRequest(task_id=task_id), timeout=SECONDS)
    return task


def tomorrow() -> Timestamp:
    return Timestamp(seconds=int(time.time()) + 86_400)


class TestLaws(RoomLaws):
    """What every room keeps."""

    service = TASK_SERVICE
    absent = only_of("Node", TASK_SERVICE)
    beside = frozenset(
        {WORKFLOW_SERVICE.full_name, SCALER_SERVICE.full_name, "yivideo.access.v1.AccessService"}
    )

    def test_it_lacks_only_the_nodes_own(self) -> None:
        """The laws above rest on the comments that say `Node only`."""
        assert self.absent == {"WatchNode", "FollowAttempts"}


class TestWorkflowLaws(RoomLaws):
    """What every service of the room keeps."""

    service = WORKFLOW_SERVICE
    beside = frozenset({TASK_SERVICE.full_name, SCALER_SERVICE.full_name, "yivideo.access.v1.AccessService"})


class TestScalerLaws(RoomLaws):
    """KEDA's contract is kept as our own are."""

    service = SCALER_SERVICE
    beside = frozenset(
        {TASK_SERVICE.full_name, WORKFLOW_SERVICE.full_name, "yivideo.access.v1.AccessService"}
    )


def test_a_task_runs_and_its_history_is_kept(stub: Any) -> None:
    """From accepted to completed, sequences without a gap; a later watch and GetTask tell the same."""
    events = [event for event in run(stub, "run-1", input={"text": "hi", "times": 2}) if event.sequence]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds[-1]) == ("accepted", "completed")
    assert "started" in kinds
    again = stub.WatchTask(task_pb2.WatchTaskRequest(task_id="run-1", after_sequence=2), timeout=SECONDS)
    assert [event for event in again if event.sequence] == events[2:]
    task = get(stub, "run-1")
    assert task.state == task_pb2.TASK_STATE_COMPLETED
    assert from_struct(task.output)["said"] == ["hi", "hi"]
    assert (task.attempt, task.last_sequence) == (1, len(events))
    assert task.create_time.ToNanoseconds() <= task.run_time.ToNanoseconds() <= task.end_time.ToNanoseconds()
    assert task.expire_time.ToNanoseconds() > task.end_time.ToNanoseconds()


def test_the_same_task_again_is_the_same_task(stub: Any) -> None:
    """Same id and payload: the task with `reuse`; another payload: ALREADY_EXISTS."""
    run(stub, "same")
    again = submit(stub, "same")
    assert again.reuse.hit
    assert again.state == task_pb2.TASK_STATE_COMPLETED
    with refused("ALREADY_EXISTS", "TASK_CONFLICT"):
        submit(stub, "same", input={"text": "other"})
    with refused("ALREADY_EXISTS", "TASK_CONFLICT"):
        run(stub, "same", priority=5)


def test_a_task_without_an_id_gets_one(stub: Any) -> None:
    """`task-<uuid4>`, another one each time."""
    first, second = submit(stub), submit(stub)
    assert first.spec.task_id != second.spec.task_id
    assert first.spec.task_id.startswith("task-")


@pytest.mark.parametrize(
    ("fields", "reason", "pointer"),
    [
        ({"task_name": "contract.sing"}, "UNKNOWN_TASK_TYPE", "/task_name"),
        ({"task_name": ""}, "UNKNOWN_TASK_TYPE", "/task_name"),
        ({"input": {"text": 5}}, "INVALID_INPUT", "/input/text"),
        ({"task_id": ".hidden"}, "INVALID_ARGUMENT", "/task_id"),
        ({"task_id": "a b"}, "INVALID_ARGUMENT", "/task_id"),
        ({"task_id": "x" * 129}, "INVALID_ARGUMENT", "/task_id"),
        ({"priority": 101}, "INVALID_ARGUMENT", "/priority"),
        ({"timeout_seconds": -1}, "INVALID_ARGUMENT", "/timeout_seconds"),
        ({"timeout_seconds": 604_801}, "INVALID_ARGUMENT", "/timeout_seconds"),
        ({"depends_on": ["nobody"]}, "INVALID_ARGUMENT", "/depends_on/0"),
        ({"retry_policy": task_pb2.RetryPolicy(max_attempts=21)}, "INVALID_ARGUMENT", "/retry_policy/max_attempts"),
        ({"labels": {f"l{n}": "" for n in range(17)}}, "INVALID_ARGUMENT", "/labels"),
        ({"callback_url": "http://127.0.0.1/hook"}, "ADDRESS_REFUSED", None),
        ({"callback_url": "file:///etc/passwd"}, "ADDRESS_REFUSED", None),
        ({"input": {"text": "x" * 300_000}}, "PAYLOAD_TOO_LARGE", None),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_bad_spec_is_refused_and_nothing_is_stored(
    stub: Any, fields: dict[str, Any], reason: str, pointer: str | None
) -> None:
    """INVALID_ARGUMENT with a stable reason and the pointer into the spec; the id stays free."""
    fields = {"task_id": "refused", **fields}
    task_id = fields["task_id"]
    with refused("INVALID_ARGUMENT", reason, pointer=pointer):
        submit(stub, **fields)
    with pytest.raises(grpc.RpcError) as caught:
        get(stub, task_id)
    assert caught.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize(("task_input", "named"), [({}, "text"), ({"text": "x", "volume": 11}, "volume")])
def test_a_missing_or_unknown_field_is_named(stub: Any, task_input: dict[str, Any], named: str) -> None:
    """The refusal points into the input, and its text names the field."""
    with pytest.raises(grpc.RpcError) as caught:
        submit(stub, "refused", input=task_input)
    info, fields = details_of(caught.value)
    assert info.reason == "INVALID_INPUT"
    assert all(field.startswith("/input") for field in fields)
    assert named in (caught.value.details() or "")


CALLS: list[tuple[str, Callable[[str], Any]]] = [
    ("GetTask", lambda task_id: task_pb2.GetTaskRequest(task_id=task_id)),
    ("CancelTask", lambda task_id: task_pb2.CancelTaskRequest(task_id=task_id)),
    ("RetryTask", lambda task_id: task_pb2.RetryTaskRequest(task_id=task_id)),
    ("DeleteTask", lambda task_id: task_pb2.DeleteTaskRequest(task_id=task_id)),
    ("ListDeliveries", lambda task_id: task_pb2.ListDeliveriesRequest(task_id=task_id)),
    ("RedeliverCallback", lambda task_id: task_pb2.RedeliverCallbackRequest(task_id=task_id)),
    ("ReplayDeadLetter", lambda task_id: task_pb2.ReplayDeadLetterRequest(task_id=task_id)),
]


@pytest.mark.parametrize(("method", "request_of"), CALLS, ids=[name for name, _ in CALLS])
def test_an_unknown_task_is_not_found(stub: Any, method: str, request_of: Callable[[str], Any]) -> None:
    """NOT_FOUND from every call that names a task, also right after it was deleted."""
    with refused("NOT_FOUND"):
        getattr(stub, method)(request_of("nobody"), timeout=SECONDS)


def test_watching_an_unknown_task_is_not_found(stub: Any) -> None:
    """The stream ends with NOT_FOUND before its first event."""
    with refused("NOT_FOUND", "TASK_NOT_FOUND"):
        list(stub.WatchTask(task_pb2.WatchTaskRequest(task_id="nobody"), timeout=SECONDS))


def test_an_ended_task_refuses_what_only_a_live_one_allows(stub: Any) -> None:
    """Cancelling it is FAILED_PRECONDITION; so is sending a callback that it does not have."""
    run(stub, "ended")
    with refused("FAILED_PRECONDITION", "WRONG_STATE"):
        stub.CancelTask(task_pb2.CancelTaskRequest(task_id="ended"), timeout=SECONDS)
    with refused("FAILED_PRECONDITION", "WRONG_STATE"):
        stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id="ended"), timeout=SECONDS)
    with refused("NOT_FOUND"):
        stub.ReplayDeadLetter(task_pb2.ReplayDeadLetterRequest(task_id="ended"), timeout=SECONDS)


def test_a_waiting_task_refuses_what_only_an_ended_one_allows(stub: Any) -> None:
    """Retry and delete are FAILED_PRECONDITION; cancel ends it at once; then both work."""
    assert submit(stub, "later", start_time=tomorrow()).state == task_pb2.TASK_STATE_PENDING
    with refused("FAILED_PRECONDITION", "WRONG_STATE"):
        stub.RetryTask(task_pb2.RetryTaskRequest(task_id="later"), timeout=SECONDS)
    with refused("FAILED_PRECONDITION", "WRONG_STATE"):
        stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id="later"), timeout=SECONDS)
    cancelled = stub.CancelTask(task_pb2.CancelTaskRequest(task_id="later", reason="enough"), timeout=SECONDS)
    assert cancelled.state == task_pb2.TASK_STATE_CANCELLED
    retried = stub.RetryTask(task_pb2.RetryTaskRequest(task_id="later"), timeout=SECONDS)
    assert retried.spec.task_id.startswith("later-retry-")
    done = stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id="later"), timeout=SECONDS)
    assert {result.resource for result in done.results} >= {"redis"}
    assert all(result.status in ("deleted", "skipped") for result in done.results)
    with refused("NOT_FOUND", "TASK_NOT_FOUND"):
        get(stub, "later")


def test_a_failed_task_tells_the_nodes_code(stub: Any) -> None:
    """FAILED with the code that the task's author chose."""
    last = run(stub, "hoarse", input={"text": "x", "fail": True})[-1]
    assert last.failed.error.code == "HOARSE"
    assert get(stub, "hoarse").state == task_pb2.TASK_STATE_FAILED


def test_pages_are_complete_and_bound_to_their_conditions(stub: Any) -> None:
    """Pages joined by tokens are the whole list, newest first; a token of other conditions is INVALID_ARGUMENT."""
    made = [submit(stub, f"page-{n}", user="reader", start_time=tomorrow()).spec.task_id for n in range(5)]
    request = task_pb2.ListTasksRequest(user="reader", page_size=2)
    seen: list[str] = []
    while True:
        page = stub.ListTasks(request, timeout=SECONDS)
        seen += [task.spec.task_id for task in page.tasks]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == made[::-1]
    request.user = "other"
    with refused("INVALID_ARGUMENT", pointer="/page_token"):
        stub.ListTasks(request, timeout=SECONDS)
    request.page_token = "nonsense"
    with refused("INVALID_ARGUMENT", pointer="/page_token"):
        stub.ListTasks(request, timeout=SECONDS)


def test_a_user_with_too_many_tasks_is_told_to_come_back(stub: Any) -> None:
    """RESOURCE_EXHAUSTED at the limit; another user is not concerned."""
    for _ in range(MOST_QUEUED):
        submit(stub, user="hoarder", start_time=tomorrow())
    with refused("RESOURCE_EXHAUSTED", "TOO_MANY_TASKS"):
        submit(stub, user="hoarder", start_time=tomorrow())
    submit(stub, user="modest", start_time=tomorrow())


def test_queues_and_task_types_are_told(stub: Any) -> None:
    """The node is there with its slots, and its task type with a schema; another node's lists are empty."""
    (queue,) = stub.ListQueues(task_pb2.ListQueuesRequest(), timeout=SECONDS).queues
    assert (queue.node, queue.replica_count, queue.slot_count) == ("contract", 1, 4)
    (kind,) = stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(node="contract"), timeout=SECONDS).task_types
    assert kind.name == "contract.say"
    assert '"text"' in kind.input_schema
    assert not stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(node="other"), timeout=SECONDS).task_types
    assert not stub.ListDeadLetters(task_pb2.ListDeadLettersRequest(), timeout=SECONDS).tasks
