"""A task's plain life over real gRPC: submit, claim, run, end."""

from __future__ import annotations

import asyncio
import re
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
from runtime.rpc_errors import rpc_errors
from runtime.structs import from_struct, to_struct
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import from_milliseconds
from tests.scheduler.conftest import Client, Harness
from tests.scheduler.fake_node import FakeNode
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


async def test_an_end_without_a_usable_result_runs_again(harness: Harness) -> None:
    """The same submit after a failure, or after a result whose first output is empty, starts a fresh run under the id."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    await (await node.arrival("t1")).fail()
    failed = await client.ended("t1")
    assert (failed.state, failed.error.code) == (task_pb2.TASK_STATE_FAILED, "BROKEN")
    await client.submit("t1")
    await (await node.arrival("t1", 2)).complete({"audio_path": ""})
    await until_state(client, "t1", task_pb2.TASK_STATE_COMPLETED)
    third = await client.submit("t1")
    assert third.state in (task_pb2.TASK_STATE_PENDING, task_pb2.TASK_STATE_RUNNING)
    await (await node.arrival("t1", 3)).complete()
    await until_state(client, "t1", task_pb2.TASK_STATE_COMPLETED)
    kinds = [event.WhichOneof("event") for event in await client.events("t1")]
    assert kinds == ["gap", "retrying", "started", "completed"], (
        "earlier lives are told as a gap with the present picture"
    )


async def until_state(client: Client, task_id: str, state: int, seconds: float = 10.0) -> task_pb2.Task:
    """Wait until a task is in a state."""
    async with asyncio.timeout(seconds):
        while (task := await client.get(task_id)).state != state:
            await asyncio.sleep(0.01)
    return task


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


async def test_a_failed_attempt_is_tried_again_by_its_policy(harness: Harness) -> None:
    """Retryable failures are tried again after growing waits until the attempts are used up; others fail at once."""
    node = await harness.node()
    client = await harness.scheduler()
    policy = task_pb2.RetryPolicy(max_attempts=3, initial_delay_seconds=0.05, backoff_factor=2)
    await client.submit("t1", retry_policy=policy)
    for attempt in (1, 2):
        await (await node.arrival("t1", attempt)).fail(retryable=True)
    here = await node.arrival("t1", 3)
    await here.fail(retryable=True)
    events = await client.events("t1")
    assert [e.WhichOneof("event") for e in events].count("retrying") == 2
    waits = [
        e.retrying.next_time.ToMilliseconds() - e.time.ToMilliseconds()
        for e in events
        if e.HasField("retrying")
    ]
    assert waits == pytest.approx([50, 100], abs=30)
    assert (await client.get("t1")).attempt == 3
    await client.submit("t2", retry_policy=policy)
    await (await node.arrival("t2")).fail(retryable=False)
    assert (await client.ended("t2")).attempt == 1


async def test_an_attempt_past_its_timeout_is_stopped_and_failed(harness: Harness) -> None:
    """The deadline cancels on the node; what the node then reports ends the task as DEADLINE_EXCEEDED."""
    node = await harness.node()
    client = await harness.scheduler(cancel_grace_seconds=0.5)
    await client.submit("t1", timeout_seconds=1)
    here = await node.arrival("t1")
    assert here.request.spec.timeout_seconds == 1
    told = await here.wait_cancel()
    assert (told.grace_seconds, told.attempt) == (0.5, 1)
    await here.say(cancelled=task_pb2.TaskCancelled(reason=told.reason, duration_seconds=1))
    task = await client.ended("t1")
    assert (task.state, task.error.code) == (task_pb2.TASK_STATE_FAILED, "DEADLINE_EXCEEDED")


async def test_a_node_that_does_not_obey_its_deadline_cannot_hold_the_task(harness: Harness) -> None:
    """After deadline, grace and kill time the task is failed without the node; what the node says later has no effect."""
    node = await harness.node()
    client = await harness.scheduler(cancel_grace_seconds=0.1, kill_seconds=0.2)
    await client.submit("t1", timeout_seconds=1)
    here = await node.arrival("t1")
    task = await client.ended("t1")
    assert task.error.code == "DEADLINE_EXCEEDED"
    await here.complete()
    assert (await client.get("t1")).state == task_pb2.TASK_STATE_FAILED


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


async def test_a_refused_slot_is_not_an_attempt(harness: Harness) -> None:
    """NO_FREE_SLOT puts the task back uncounted, and it runs when the node has room after all."""
    node = await harness.node()
    client = await harness.scheduler()
    node.full = True
    await client.submit("t1")
    await asyncio.sleep(0.3)
    assert (await client.get("t1")).attempt <= 1
    node.full = False
    await (await node.arrival("t1")).complete()
    task = await client.ended("t1")
    assert (task.attempt, node.started) == (1, [("t1", 1)])


async def test_a_draining_node_gives_its_work_back_with_its_checkpoint(harness: Harness) -> None:
    """A handed-back attempt is not counted, and the next one gets what it had saved."""
    first, second = await harness.node(replica="r1"), FakeNode(replica="r2")
    client = await harness.scheduler()
    await client.submit("t1")
    here = await first.arrival("t1")
    await harness.node(second)
    first.draining = True
    await first.notify()
    await here.say(checkpoint=task_pb2.Checkpoint(data=to_struct({"done": 3})))
    await here.say(handed_back=task_pb2.TaskHandedBack(checkpoint=to_struct({"done": 4})))
    task = await until_state(client, "t1", task_pb2.TASK_STATE_PENDING)
    assert (task.attempt, task.worker_lost_count) == (0, 0)
    other = await harness.scheduler(ready=1)
    await asyncio.sleep(0)
    resumed = await second.arrival("t1")
    assert from_struct(resumed.request.checkpoint) == {"done": 4}
    await resumed.complete()
    assert (await other.ended("t1")).attempt == 1


async def test_what_a_node_refuses_fails_with_the_nodes_own_code(harness: Harness) -> None:
    """An input that the node's newer version does not take ends the task with that error, not with a lost worker."""
    node = await harness.node()
    node.refusal = InvalidInput("/input/rate: too high")
    client = await harness.scheduler()
    await client.submit("t1")
    assert (await client.ended("t1")).error.code == "INVALID_INPUT"


async def test_a_retried_task_is_a_new_task(harness: Harness) -> None:
    """RetryTask submits an ended task's payload under a new id, secrets intact; a live task cannot be retried."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1", input={"video_path": "a", "api_key": "k"}, labels={"a": "b"})
    with pytest.raises(WrongState):
        async with rpc_errors():
            await client.stub.RetryTask(task_pb2.RetryTaskRequest(task_id="t1"))
    await (await node.arrival("t1")).fail()
    await client.ended("t1")
    retried = await client.stub.RetryTask(task_pb2.RetryTaskRequest(task_id="t1"))
    assert re.fullmatch(r"t1-retry-[0-9a-f]{8}", retried.spec.task_id)
    here = await node.arrival(retried.spec.task_id)
    assert (here.request.spec.input["api_key"], dict(here.request.spec.labels)) == ("k", {"a": "b"})
    await here.complete()
    await client.ended(retried.spec.task_id)


async def test_what_runs_again_reads_what_its_caller_may_read_now(harness: Harness) -> None:
    """`all_files` is of the request that made the task run: a later one without it takes it away, a retry never adds it."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1", all_files=True)
    here = await node.arrival("t1")
    assert here.request.spec.all_files
    await here.fail()
    await client.ended("t1")
    for may, expected in ((False, False), (True, True)):
        retried = await client.stub.RetryTask(task_pb2.RetryTaskRequest(task_id="t1", all_files=may))
        here = await node.arrival(retried.spec.task_id)
        assert here.request.spec.all_files is expected
        await here.complete()
    await client.submit("t1")
    here = await node.arrival("t1", 2)
    assert not here.request.spec.all_files
    await here.fail()
    await client.ended("t1")
    retried = await client.stub.RetryTask(task_pb2.RetryTaskRequest(task_id="t1", all_files=True))
    assert not (await node.arrival(retried.spec.task_id)).request.spec.all_files


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


async def test_a_node_is_told_how_late_an_attempt_may_begin(harness: Harness) -> None:
    """A start that a cut network held up must not begin work that was given up meanwhile."""
    node = await harness.node()
    client = await harness.scheduler(start_seconds=30)
    before = time.time()
    await client.submit("t1")
    here = await node.arrival("t1")
    latest = here.request.latest_start_time.ToNanoseconds() / 1e9
    assert before + 29.9 <= latest <= time.time() + 30.1
    await here.complete()
