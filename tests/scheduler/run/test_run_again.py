"""Attempts that fail, are refused, handed back or too late, and what runs again, over real gRPC."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from runtime.errors import (
    InvalidInput,
    WrongState,
)
from runtime.rpc_errors import rpc_errors
from runtime.structs import from_struct, to_struct
from tests.scheduler.conftest import Client, Harness
from tests.scheduler.fake_node import FakeNode
from yivideo.task.v1 import task_pb2


async def until_state(client: Client, task_id: str, state: int, seconds: float = 10.0) -> task_pb2.Task:
    """Wait until a task is in a state."""
    async with asyncio.timeout(seconds):
        while (task := await client.get(task_id)).state != state:
            await asyncio.sleep(0.01)
    return task


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
