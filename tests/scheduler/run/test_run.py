"""A task's plain life over real gRPC: submit, claim, run, end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis

from runtime.errors import (
    AddressRefused,
    InvalidArgument,
    InvalidInput,
    PayloadTooLarge,
    TaskConflict,
    TaskNotFound,
    UnknownTaskType,
    WrongState,
)
from runtime.structs import from_struct, to_struct
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import from_milliseconds
from tests.scheduler.conftest import Harness
from yivideo.task.v1 import task_pb2


async def test_a_task_runs_to_its_result(harness: Harness) -> None:
    """What is submitted runs once on a node with a free slot, and its result and whole history can be read."""
    node = await harness.node()
    client = await harness.scheduler()
    task = await client.submit("t1", input={"video_path": "a.mp4", "api_key": "k"})
    assert task.state == task_pb2.TASK_STATE_PENDING
    here = await node.arrival("t1")
    await here.progress(40)
    await here.complete(
        {"audio_path": "t1/a.wav"}, files=[task_pb2.OutputFile(name="a.wav", path="t1/a.wav")]
    )
    task = await client.ended("t1")
    assert task.state == task_pb2.TASK_STATE_COMPLETED
    assert task.output["audio_path"] == "t1/a.wav"
    assert [item.path for item in task.files] == ["t1/a.wav"]
    assert (task.attempt, task.replica, task.progress.percent) == (1, "r1", 40)
    assert task.spec.input["api_key"] == task.resolved_input["api_key"] == "***"
    assert here.request.spec.input["api_key"] == "k"
    events = await client.events("t1")
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert [event.WhichOneof("event") for event in events] == ["accepted", "started", "progress", "completed"]
    assert node.started == [("t1", 1)]


async def test_the_same_submit_gives_the_same_task(harness: Harness) -> None:
    """A repeated submit answers with the task and `reuse`, running or ended; another payload under the id conflicts."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    again = await client.submit("t1")
    assert (again.reuse.hit, again.reuse.state, again.reuse.source) == (True, "running", "redis")
    with pytest.raises(TaskConflict):
        await client.submit("t1", input={"video_path": "b.mp4"})
    await here.complete()
    await client.ended("t1")
    hit = await client.submit("t1", traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    assert hit.state == task_pb2.TASK_STATE_COMPLETED and hit.output["audio_path"] == "x/a.wav"
    assert hit.reuse.state == "" and hit.reuse.HasField("cached_time")
    assert node.started == [("t1", 1)]


async def test_a_client_that_leaves_early_leaves_no_claim_without_owner(harness: Harness) -> None:
    """A submit whose client leaves meanwhile is stored, and the task that was claimed with it is started, once and at once."""
    node = await harness.node(slots=40, auto=True)
    client = await harness.scheduler(lease_seconds=600)
    for n in range(30):
        call = asyncio.create_task(client.submit(f"t{n}"))
        await asyncio.sleep(0.0002 * n)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await client.submit("last")
    await client.ended("last")
    tasks = (await client.stub.ListTasks(task_pb2.ListTasksRequest(page_size=100))).tasks
    for task in tasks:
        await client.ended(task.spec.task_id)
    assert len(tasks) > 1, "no submit that was left got through"
    assert sorted(node.started) == sorted((task.spec.task_id, 1) for task in tasks)


@pytest.mark.parametrize(
    ("fields", "error", "pointer"),
    [
        ({"task_name": "media.nothing"}, UnknownTaskType, "/task_name"),
        ({"task_id": "../x"}, InvalidArgument, "/task_id"),
        ({"task_id": ".x"}, InvalidArgument, "/task_id"),
        ({"task_id": "x" * 129}, InvalidArgument, "/task_id"),
        ({"input": {}}, InvalidInput, "/input/video_path"),
        ({"input": {"video_path": 1}}, InvalidInput, "/input/video_path"),
        ({"input": {"video_path": "a", "rate": 1.5}}, InvalidInput, "/input/rate"),
        ({"input": {"video_path": "a", "sources": [1, "x"]}}, InvalidInput, "/input/sources/1"),
        ({"input": {"video_path": "a", "unknown": 1}}, InvalidInput, "/input/unknown"),
        ({"input": {"video_path": "a" * 300_000}}, PayloadTooLarge, None),
        ({"priority": 101}, InvalidArgument, "/priority"),
        ({"timeout_seconds": -1}, InvalidArgument, "/timeout_seconds"),
        (
            {"retry_policy": task_pb2.RetryPolicy(max_attempts=21)},
            InvalidArgument,
            "/retry_policy/max_attempts",
        ),
        (
            {"retry_policy": task_pb2.RetryPolicy(backoff_factor=0.5)},
            InvalidArgument,
            "/retry_policy/backoff_factor",
        ),
        ({"depends_on": ["nobody"]}, InvalidArgument, "/depends_on/0"),
        ({"labels": {"k": "v" * 65}}, InvalidArgument, "/labels"),
        ({"user": "a b"}, InvalidArgument, "/user"),
        ({"callback_format": "other"}, InvalidArgument, "/callback_format"),
        ({"callback_url": "ftp://example.com/"}, AddressRefused, None),
        ({"callback_url": "http://127.0.0.1:1/"}, AddressRefused, None),
        ({"callback_url": "http://169.254.169.254/latest"}, AddressRefused, None),
        ({"callback_url": "http://example.com/" + "a" * 2048}, AddressRefused, None),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_written(
    harness: Harness,
    clean_redis: redis.Redis,
    keys: Keys,
    fields: dict[str, Any],
    error: type,
    pointer: str | None,
) -> None:
    """A bad task is refused before anything is written, with the class of the error and the place of the fault."""
    await harness.node(auto=True)
    client = await harness.scheduler()
    with pytest.raises(error) as refused:
        await client.submit(**{"task_id": "t1", **fields})
    assert type(refused.value) is error
    if pointer is not None:
        assert refused.value.fields[0].pointer == pointer  # type: ignore[attr-defined]
    assert not clean_redis.exists(keys.tasks, keys.task("t1"))


async def test_a_task_type_once_seen_is_accepted_while_its_node_is_away(harness: Harness) -> None:
    """Types are kept in Redis: a scheduler that has never met the node knows them, and the task waits for capacity."""
    await harness.node()
    first = await harness.scheduler()
    await first.scheduler.availability.refresh()
    harness.addresses.clear()
    client = await harness.scheduler()
    task = await client.submit("t1")
    assert (task.state, task.waiting_reason) == (task_pb2.TASK_STATE_PENDING, "waiting for capacity")
    types = (await client.stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(node="media"))).task_types
    assert [kind.name for kind in types] == ["media.extract", "media.split"]


async def test_references_are_resolved_from_the_workflow(harness: Harness) -> None:
    """A reference takes the output of the workflow's newest completed stage; depends_on makes the task wait for it."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("w1")
    spec = {
        "video_path": "${{ stages.media.extract.output.audio_path }}",
        "rate": "${{stages.media.extract.output.rate}}",
    }
    task = await client.submit("w1-split", "media.split", workflow_id="w1", depends_on=["w1"], input=spec)
    assert (task.state, task.waiting_reason) == (task_pb2.TASK_STATE_BLOCKED, "waiting for other tasks")
    await (await node.arrival("w1")).complete({"audio_path": "w1/a.wav", "rate": 16000})
    here = await node.arrival("w1-split")
    assert from_struct(here.request.spec.input) == {"video_path": "w1/a.wav", "rate": 16000}
    task = await client.get("w1-split")
    assert from_struct(task.resolved_input) == {"video_path": "w1/a.wav", "rate": 16000}
    assert str(task.spec.input["video_path"]).startswith("${{")


async def test_a_reference_without_a_value_fails_the_task(harness: Harness) -> None:
    """A field that the output turns out not to have ends the task with its own code; no attempt reaches a node."""
    node = await harness.node(auto=True)
    client = await harness.scheduler()
    await client.submit("t0", "media.split", workflow_id="w")
    await client.submit(
        "t1", workflow_id="w", input={"video_path": "${{ stages.media.split.output.segments }}"}
    )
    task = await client.ended("t1")
    assert task.error.code == "REFERENCE_UNRESOLVED"
    assert (
        task.error.message
        == "the output of task 't0' (media.split) has no field 'segments'; it has audio_path"
    )
    assert task.error.field == "/video_path"
    assert node.started == [("t0", 1)]
    await client.submit("t2")
    await client.ended("t2")


async def test_a_task_does_not_start_before_its_time(harness: Harness) -> None:
    """A start time in the future delays the task until then, and not by a sweeper's whole period more."""
    node = await harness.node(auto=True)
    client = await harness.scheduler(sweep_seconds=5.0)
    start = time.time() + 0.4
    task = await client.submit("t1", start_time=from_milliseconds(int(start * 1000)))
    assert task.waiting_reason == "waiting for its start time"
    await node.arrival("t1")
    assert -0.01 <= time.time() - start < 0.5


async def test_a_task_that_starts_too_late_fails(harness: Harness) -> None:
    """A start deadline passed in the queue fails the task with DEADLINE_EXCEEDED."""
    await harness.node(slots=0)
    client = await harness.scheduler()
    await client.submit("t1", start_deadline=from_milliseconds(int(time.time() * 1000) + 200))
    task = await client.ended("t1")
    assert (task.state, task.error.code, task.attempt) == (task_pb2.TASK_STATE_FAILED, "DEADLINE_EXCEEDED", 0)


async def test_dependents_wait_for_all_and_fail_with_any(harness: Harness) -> None:
    """A task with dependencies starts when all are completed; when one fails, it fails with DEPENDENCY_FAILED."""
    node = await harness.node(slots=2)
    client = await harness.scheduler()
    for name in ("a", "b"):
        await client.submit(name)
    await client.submit("good", depends_on=["a"])
    await client.submit("bad", depends_on=["a", "b"])
    await (await node.arrival("a")).complete()
    await (await node.arrival("good")).complete()
    assert (await client.get("bad")).state == task_pb2.TASK_STATE_BLOCKED
    await (await node.arrival("b")).fail()
    task = await client.ended("bad")
    assert (task.state, task.error.code, task.attempt) == (task_pb2.TASK_STATE_FAILED, "DEPENDENCY_FAILED", 0)
    await client.submit("late", depends_on=["b"])
    assert (await client.ended("late")).error.code == "DEPENDENCY_FAILED"


async def test_cancel_in_every_state(harness: Harness) -> None:
    """Waiting tasks are cancelled at once, a running one when its node says so; a second cancel is refused."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("running")
    here = await node.arrival("running")
    await client.submit("pending")
    await client.submit("blocked", depends_on=["running"])
    await client.submit("delayed", start_time=from_milliseconds(int(time.time() * 1000) + 60_000))
    for name in ("pending", "blocked", "delayed"):
        assert (await client.cancel(name, reason="no")).state == task_pb2.TASK_STATE_CANCELLED
        with pytest.raises(WrongState):
            await client.cancel(name)
    assert (
        await client.cancel("running", reason="stop", grace_seconds=2)
    ).state == task_pb2.TASK_STATE_CANCELLING
    told = await here.wait_cancel()
    assert (told.reason, told.grace_seconds) == ("stop", 2)
    with pytest.raises(WrongState):
        await client.cancel("running")
    assert (await client.get("running")).state == task_pb2.TASK_STATE_CANCELLING
    await here.say(cancelled=task_pb2.TaskCancelled(reason="stop", duration_seconds=0.1))
    events = await client.events("running")
    assert [e.WhichOneof("event") for e in events] == ["accepted", "started", "cancelling", "cancelled"]
    with pytest.raises(WrongState):
        await client.cancel("running")
    with pytest.raises(TaskNotFound):
        await client.cancel("nobody")
    assert node.started == [("running", 1)]


async def test_a_cancel_reaches_the_node_through_another_replica(harness: Harness) -> None:
    """Whichever scheduler is asked, the node is told, directly or by the owner's next beat."""
    node = await harness.node()
    owner = await harness.scheduler()
    await owner.submit("t1")
    here = await node.arrival("t1")
    harness.addresses.clear()
    other = await harness.scheduler()
    await other.cancel("t1")
    await here.wait_cancel()
    await here.say(cancelled=task_pb2.TaskCancelled())
    assert (await other.ended("t1")).state == task_pb2.TASK_STATE_CANCELLED


async def test_work_that_completes_although_it_was_cancelled_is_completed(harness: Harness) -> None:
    """What the node says about the end is what happened."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    await client.cancel("t1")
    await here.complete()
    assert (await client.ended("t1")).state == task_pb2.TASK_STATE_COMPLETED


async def test_run_task_submits_and_watches(harness: Harness) -> None:
    """One streaming call does all: the stream ends with the terminal event."""
    await harness.node(auto=True)
    client = await harness.scheduler()
    spec = task_pb2.TaskSpec(task_name="media.extract", input=to_struct({"video_path": "a"}))
    kinds = [e.WhichOneof("event") async for e in client.stub.RunTask(task_pb2.RunTaskRequest(spec=spec))]
    assert (kinds[0], kinds[-1]) == ("accepted", "completed")


async def test_slots_are_filled_and_never_overfilled(harness: Harness) -> None:
    """Two schedulers and two replicas of three slots run forty tasks, never more than the slots at once, each once."""
    nodes = [await harness.node(replica=f"r{n}", slots=3, auto=True) for n in range(2)]
    clients = [await harness.scheduler() for _ in range(2)]
    names = [f"t{n}" for n in range(40)]
    await asyncio.gather(*(clients[n % 2].submit(name, user=f"u{n % 3}") for n, name in enumerate(names)))
    for name in names:
        assert (await clients[0].ended(name)).state == task_pb2.TASK_STATE_COMPLETED
    assert sorted(name for node in nodes for name, _ in node.started) == sorted(names)
    assert all(node.most_at_once <= 3 for node in nodes)
