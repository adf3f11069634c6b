"""Workflows that fail, are cancelled, go on from a stage, are told by a callback or deleted, over real gRPC."""

from __future__ import annotations

import asyncio
import json

import pytest
import redis
from standardwebhooks import Webhook

from runtime.errors import (
    InvalidArgument,
    PermissionDenied,
    WrongState,
)
from runtime.rpc_errors import rpc_errors
from scheduler.queue.keys import Keys
from tests.scheduler.api.flows import Flows, connect, finish, task
from tests.scheduler.callbacks.receiver import SECRETS, receiving, section
from tests.scheduler.conftest import Harness
from tests.scheduler.fake_node import FakeNode
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2, workflow_pb2

pytestmark = pytest.mark.trial("10.9")

State = task_pb2.TaskState


async def test_a_failure_ends_what_depends_on_it_and_a_retry_goes_on_from_there(
    flows: tuple[FakeNode, Flows],
) -> None:
    """Independent tasks go on; the retry runs the failed ones under their ids and leaves the completed ones; history goes on."""
    node, client = flows
    await client.submit()
    await finish(node, "audio", "right")
    await (await node.arrival("w-left")).fail()
    first = await client.ended()
    assert first[-1].ended.state == State.TASK_STATE_FAILED
    workflow = await client.get()
    assert client.states(workflow) == {
        "audio": "completed", "left": "failed", "right": "completed", "end": "failed",
    }  # fmt: skip
    assert workflow.tasks[3].error.code == "DEPENDENCY_FAILED"
    workflow = await client.retry()
    assert workflow.state == State.TASK_STATE_RUNNING and not workflow.HasField("expire_time")
    assert not workflow.tasks[0].HasField("expire_time")
    await (await node.arrival("w-left", 2)).complete({"audio_path": "left.wav"})
    await finish(node, "end")
    rest = await client.ended(after=first[-1].sequence)
    assert rest[0].WhichOneof("event") == "retrying"
    assert rest[-1].ended.state == State.TASK_STATE_COMPLETED
    assert [event.sequence for event in await client.ended()] == list(range(1, rest[-1].sequence + 1))
    assert node.started.count(("w-audio", 1)) == 1 and ("w-right", 2) not in node.started
    with pytest.raises(WrongState, match="all tasks of workflow 'w' have completed"):
        await client.retry()


async def test_it_goes_on_from_any_stage(flows: tuple[FakeNode, Flows]) -> None:
    """A named task runs again with all that depends on it, and takes what the others had made."""
    node, client = flows
    await client.submit()
    await finish(node, "audio", "left", "right", "end")
    last = (await client.ended())[-1].sequence
    with pytest.raises(InvalidArgument, match="it has audio, left, right, end"):
        await client.retry("middle")
    workflow = await client.retry("left")
    assert client.states(workflow)["end"] == "blocked"
    here = await node.arrival("w-left", 2)
    assert here.request.spec.input["video_path"] == "audio.wav"
    with pytest.raises(WrongState):
        await client.retry()
    await here.complete()
    await finish(node, "end", attempt=2)
    assert (await client.ended(after=last))[-1].ended.state == State.TASK_STATE_COMPLETED
    assert sorted(node.started) == sorted(
        [("w-audio", 1), ("w-right", 1), *((key, n) for key in ("w-left", "w-end") for n in (1, 2))]
    )


async def test_a_cancel_stops_all_that_has_not_ended(flows: tuple[FakeNode, Flows]) -> None:
    """Waiting tasks are cancelled at once, running ones told to stop; the workflow ends with the last of them."""
    node, client = flows
    await client.submit()
    await finish(node, "audio")
    left, right = await node.arrival("w-left"), await node.arrival("w-right")
    workflow = await client.cancel()
    assert workflow.state == State.TASK_STATE_CANCELLING
    assert client.states(workflow) == {
        "audio": "completed", "left": "cancelling", "right": "cancelling", "end": "cancelled",
    }  # fmt: skip
    with pytest.raises(WrongState, match="being cancelled already"):
        await client.cancel()
    for here in (left, right):
        assert (await here.wait_cancel()).reason == "enough"
        await here.say(cancelled=task_pb2.TaskCancelled(reason="enough"))
    events = await client.ended()
    assert events[-1].ended.state == State.TASK_STATE_CANCELLED
    assert (await client.get()).cancel_reason == "enough"
    assert sum(event.HasField("ended") for event in events) == 1
    with pytest.raises(WrongState):
        await client.cancel()


async def test_a_workflow_goes_on_only_for_who_may_read_its_files(flows: tuple[FakeNode, Flows]) -> None:
    """One that was submitted with `files:all` is let go on by nobody whose key has lost that scope."""
    node, client = flows
    first = task("audio")
    first.spec.all_files = True
    await client.submit(first)
    await (await node.arrival("w-audio")).fail("MEDIA_UNREADABLE")
    await client.ended()
    with pytest.raises(PermissionDenied):
        await client.retry()
    async with rpc_errors():
        await client.stub.RetryWorkflow(workflow_pb2.RetryWorkflowRequest(workflow_id="w", all_files=True))
    await finish(node, "audio", attempt=2)


async def test_one_callback_tells_the_whole(harness: Harness) -> None:
    """One signed delivery for the workflow, when all of it has ended; a later end has a delivery, and an id, of its own."""
    receiver = await harness.stack.enter_async_context(receiving())
    node = await harness.node(slots=20)
    client = await connect(harness, callbacks=section())
    await client.submit(callback_url=receiver.url)
    await finish(node, "audio", "right")
    await (await node.arrival("w-left")).fail("MEDIA_UNREADABLE")
    await client.ended()
    headers, raw = await receiver.wait(1)
    Webhook(SECRETS[0]).verify(raw, headers)
    body = json.loads(raw)
    assert (body["workflow_id"], body["status"]) == ("w", "failed")
    assert body["result"]["error"] == "media.extract: MEDIA_UNREADABLE: it broke"
    assert [one["status"] for one in body["result"]["tasks"]] == ["SUCCESS", "FAILED", "SUCCESS", "FAILED"]
    await client.retry()
    await finish(node, "left", attempt=2)
    await finish(node, "end")
    _, raw = await receiver.wait(2)
    assert json.loads(raw)["status"] == "completed"
    assert receiver.ids() == ["msg_workflow/w_1", "msg_workflow/w_2"]


async def test_scheduler_dies_in_the_middle(harness: Harness) -> None:
    """Another replica ends the workflow: nothing runs twice, nothing is lost, and its history has no hole."""
    node = await harness.node(slots=20)
    first = await connect(harness)
    await first.submit()
    await finish(node, "audio")
    left = await node.arrival("w-left")
    await node.arrival("w-right")  # one that is claimed and not begun waits for its lease to lapse
    await first.client.scheduler.attempts.retire()
    await first.client.scheduler.dispatcher.drain()
    second = await connect(harness)
    await left.complete({"audio_path": "left.wav"})
    await finish(node, "right", "end")
    events = await second.ended()
    assert events[-1].ended.state == State.TASK_STATE_COMPLETED
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert sorted(node.started) == [("w-audio", 1), ("w-end", 1), ("w-left", 1), ("w-right", 1)]


@pytest.mark.trial("10.21")
async def test_a_workflow_and_its_tasks_go_together(harness: Harness, clean_redis: redis.Redis) -> None:
    """No task of it expires while it runs; after `workflow_ttl_days` from its end everything is gone, to the last key."""
    node = await harness.node(slots=20)
    client = await connect(harness, result_ttl_seconds=0.05, workflow_ttl_days=0.4 / 86400)
    await client.submit(task("audio"), task("copy", "tasks.audio"))
    await finish(node, "audio")
    await node.arrival("w-copy")
    keys = Keys(PREFIX)
    assert clean_redis.zcard(keys.expiry) == 0
    await finish(node, "copy")
    await client.ended()
    async with asyncio.timeout(10):
        while clean_redis.keys(PREFIX + "t:*") or clean_redis.exists(keys.workflows):
            await asyncio.sleep(0.02)
    assert not clean_redis.exists(keys.workflow("w"), keys.user_workflows("anonymous"))
