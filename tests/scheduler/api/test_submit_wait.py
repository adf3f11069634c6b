"""SubmitTask with `wait_seconds`: stored first, answered when the task has ended, whoever ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from runtime.errors import InvalidArgument
from runtime.rpc_errors import rpc_errors
from runtime.structs import to_struct
from scheduler.queue.keys import Keys
from tests.scheduler.conftest import Client, Harness, claim_nothing, until
from yivideo.task.v1 import task_pb2


async def submit(client: Client, task_id: str, wait_seconds: float, **fields: Any) -> task_pb2.Task:
    """Submit a good task and wait for its end."""
    spec = task_pb2.TaskSpec(
        task_id=task_id, task_name="media.extract", input=to_struct({"video_path": "a.mp4"}), **fields
    )
    request = task_pb2.SubmitTaskRequest(spec=spec, wait_seconds=wait_seconds)
    async with rpc_errors():
        return await client.stub.SubmitTask(request, timeout=20)


async def test_the_answer_is_the_ended_task(harness: Harness, clean_redis: redis.Redis) -> None:
    """The answer has the result and says no reuse; the wait subscribed to nothing and is forgotten."""
    await harness.node(auto=True)
    client = await harness.scheduler()
    task = await submit(client, "t1", 10)
    assert task.state == task_pb2.TASK_STATE_COMPLETED
    assert task.output == to_struct({"audio_path": "x/a.wav"}) and not task.HasField("reuse")
    assert task == await client.get("t1")
    assert client.scheduler.feed.watcher_count == 0
    assert not client.scheduler.endings._expected


async def test_every_end_is_told(harness: Harness) -> None:
    """A failure, and a cancel of a task that still waits, end the wait as well."""
    node = await harness.node()
    client = await harness.scheduler()
    failing = asyncio.create_task(submit(client, "t1", 10))
    await (await node.arrival("t1")).fail()
    assert (await failing).state == task_pb2.TASK_STATE_FAILED
    await client.submit("holds")
    await node.arrival("holds")
    waiting = asyncio.create_task(submit(client, "t2", 10))
    await until(lambda: "t2" in client.scheduler.endings._expected)
    await until_stored(client, "t2")
    await client.cancel("t2")
    assert (await waiting).state == task_pb2.TASK_STATE_CANCELLED


async def until_stored(client: Client, task_id: str) -> None:
    """Wait until a task exists."""
    async with asyncio.timeout(5):
        while task_id not in {task.spec.task_id for task in (await listed(client))}:
            await asyncio.sleep(0.005)


async def listed(client: Client) -> list[task_pb2.Task]:
    """All tasks."""
    return list((await client.stub.ListTasks(task_pb2.ListTasksRequest())).tasks)


async def test_an_end_at_another_replica_is_told(harness: Harness) -> None:
    """A call waits here; the task runs under another scheduler; its end comes over the wake channel."""
    node = await harness.node()
    client = await harness.scheduler()
    other = await harness.scheduler()
    claim_nothing(client.scheduler)
    waiting = asyncio.create_task(submit(client, "t1", 10))
    here = await node.arrival("t1")
    assert other.scheduler.dispatcher.runner("t1") is not None
    await here.complete()
    assert (await waiting).state == task_pb2.TASK_STATE_COMPLETED


async def test_a_wait_ends_with_its_time(harness: Harness) -> None:
    """When the seconds have passed the answer is the task as it is; it stays stored and goes on."""
    node = await harness.node()
    client = await harness.scheduler()
    task = await submit(client, "t1", 0.2)
    assert task.state == task_pb2.TASK_STATE_RUNNING
    await (await node.arrival("t1")).complete()
    assert (await client.ended("t1")).state == task_pb2.TASK_STATE_COMPLETED


async def test_a_task_that_was_there_is_waited_for_too(harness: Harness) -> None:
    """A second submit of the same task waits for the same end and says that it was there."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    waiting = asyncio.create_task(submit(client, "t1", 10))
    await until(lambda: client.scheduler.feed.watcher_count == 1)
    await here.complete()
    task = await waiting
    assert task.state == task_pb2.TASK_STATE_COMPLETED and task.reuse.hit


async def test_a_lost_hint_is_made_up_for(harness: Harness, clean_redis: redis.Redis, keys: Keys) -> None:
    """When the wake channel broke while another replica ended the task, everybody looks as soon as it is heard again."""
    node = await harness.node()
    client = await harness.scheduler()
    await harness.scheduler()
    claim_nothing(client.scheduler)
    waiting = asyncio.create_task(submit(client, "t1", 15))
    here = await node.arrival("t1")
    clean_redis.hset(keys.task("t1"), "waiter", "")  # nobody is told
    await here.complete()
    await client.ended("t1")
    assert not waiting.done()
    clean_redis.client_kill_filter(_type="pubsub")
    assert (await waiting).state == task_pb2.TASK_STATE_COMPLETED


async def test_a_draining_replica_lets_go(harness: Harness) -> None:
    """A replica that shuts down answers at once with the task as it is."""
    node = await harness.node()
    client = await harness.scheduler()
    waiting = asyncio.create_task(submit(client, "t1", 15))
    await node.arrival("t1")
    client.scheduler.draining.set()
    assert (await waiting).state == task_pb2.TASK_STATE_RUNNING


async def test_a_client_that_leaves_has_its_task_stored(harness: Harness) -> None:
    """Cancelling the call ends the wait, not the task."""
    node = await harness.node()
    client = await harness.scheduler()
    waiting = asyncio.create_task(submit(client, "t1", 15))
    here = await node.arrival("t1")
    waiting.cancel()
    await until(lambda: not client.scheduler.endings._expected)
    await here.complete()
    assert (await client.ended("t1")).state == task_pb2.TASK_STATE_COMPLETED


@pytest.mark.parametrize("seconds", [-1.0, 601.0, float("nan")])
async def test_a_wait_out_of_range_is_refused(harness: Harness, seconds: float) -> None:
    """0 to 600; nothing is stored."""
    await harness.node()
    client = await harness.scheduler()
    with pytest.raises(InvalidArgument):
        await submit(client, "t1", seconds)
    assert await listed(client) == []
