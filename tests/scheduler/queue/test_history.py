"""What became of a task's attempts, what they logged, and where a task stands while it waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from runtime.errors import InvalidArgument, TaskNotFound
from runtime.rpc_errors import rpc_errors
from scheduler.queue.keys import Keys
from tests.scheduler.conftest import Client, Harness, until
from tests.scheduler.fake_node import FakeNode, serving_node
from yivideo.task.v1 import task_pb2

RETRY = task_pb2.RetryPolicy(max_attempts=3, initial_delay_seconds=0.01)


async def attempts(client: Client, task_id: str) -> list[task_pb2.AttemptRecord]:
    async with rpc_errors():
        answer = await client.stub.ListAttempts(task_pb2.ListAttemptsRequest(task_id=task_id))
    return list(answer.attempts)


async def log(client: Client, task_id: str, **fields: object) -> task_pb2.GetTaskLogResponse:
    async with rpc_errors():
        return await client.stub.GetTaskLog(task_pb2.GetTaskLogRequest(task_id=task_id, **fields))  # type: ignore[arg-type]


def outcomes(found: list[task_pb2.AttemptRecord]) -> list[tuple[int, str, str]]:
    return [(one.attempt, one.outcome, one.error.code) for one in found]


@pytest.mark.trial("10.14")
async def test_every_attempt_says_where_it_ran_and_why_it_ended(harness: Harness) -> None:
    """Failed, handed back, cancelled: each with replica, times and error; the current one runs; a new life keeps them."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1", retry_policy=RETRY)
    first = await node.arrival("t1")
    assert outcomes(await attempts(client, "t1")) == [(1, "running", "")]
    await first.fail("BROKEN", retryable=True)
    second = await node.arrival("t1", 2)
    await second.say(handed_back=task_pb2.TaskHandedBack())
    await until(lambda: node.started.count(("t1", 2)) == 2)
    failed, handed_back, running = await attempts(client, "t1")
    assert outcomes([failed, handed_back, running]) == [
        (1, "failed", "BROKEN"), (2, "handed_back", ""), (2, "running", ""),
    ]  # fmt: skip
    for one in (failed, handed_back):
        assert (one.node, one.replica, one.address) == ("media", "r1", harness.addresses["media"][0])
        assert one.start_time.ToMilliseconds() <= one.end_time.ToMilliseconds() > 0
    assert not running.HasField("end_time")
    await client.cancel("t1")
    here = node.attempts["t1"]
    await here.wait_cancel()
    await here.say(cancelled=task_pb2.TaskCancelled())
    await client.ended("t1")
    assert outcomes(await attempts(client, "t1"))[-1] == (2, "cancelled", "")
    await client.submit("t1", retry_policy=RETRY)
    await (await node.arrival("t1", 3)).complete()
    await client.ended("t1")
    assert [one.outcome for one in await attempts(client, "t1")] == [
        "failed", "handed_back", "cancelled", "completed",
    ]  # fmt: skip


async def test_a_task_that_ended_while_it_waited_has_no_attempt_of_its_end(harness: Harness) -> None:
    """Cancelled before the first, or between two: only what ran is listed. An unknown task is NOT_FOUND."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t0", delay_seconds=60)
    await client.cancel("t0")
    assert await attempts(client, "t0") == []
    slow = task_pb2.RetryPolicy(max_attempts=3, initial_delay_seconds=60)
    await client.submit("t1", retry_policy=slow)
    await (await node.arrival("t1")).fail("BROKEN", retryable=True)
    await until(lambda: client.scheduler.dispatcher.runner("t1") is None)
    await client.cancel("t1")
    assert outcomes(await attempts(client, "t1")) == [(1, "failed", "BROKEN")]
    for call in (attempts(client, "none"), log(client, "none")):
        with pytest.raises(TaskNotFound):
            await call


@pytest.mark.trial("10.14")
async def test_the_log_outlives_progress_and_is_read_by_level_and_page(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """Lines with attempt, level and time, after a thousand events of progress too; bounded; gone with the task."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    for n, level in enumerate(("debug", "info", "warning", "error")):
        await here.say(log=task_pb2.TaskLog(level=level, message=f"line {n}"))
    await here.complete()
    await client.ended("t1")
    clean_redis.xtrim(keys.task("t1", "ev"), maxlen=1, approximate=False)
    everything = await log(client, "t1")
    assert [(line.level, line.message, line.attempt) for line in everything.lines] == [
        ("debug", "line 0", 1), ("info", "line 1", 1), ("warning", "line 2", 1), ("error", "line 3", 1),
    ]  # fmt: skip
    assert all(line.HasField("time") for line in everything.lines)
    assert [line.message for line in (await log(client, "t1", level="warning")).lines] == ["line 2", "line 3"]
    page = await log(client, "t1", page_size=3)
    assert len(page.lines) == 3
    rest = await log(client, "t1", page_size=3, after_sequence=page.next_after_sequence)
    assert ([line.message for line in rest.lines], rest.next_after_sequence) == (["line 3"], 0)
    for field in ({"level": "loud"}, {"page_size": 501}, {"after_sequence": -1}):
        with pytest.raises(InvalidArgument):
            await log(client, "t1", **field)
    async with rpc_errors():
        await client.stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id="t1"))
    assert not clean_redis.exists(keys.task("t1", "log"), keys.task("t1", "attempts"))


@pytest.mark.trial("10.14")
async def test_a_node_that_stood_still_before_it_died_is_told_apart(
    harness: Harness, free_port: Callable[[], int]
) -> None:
    """The client reads that the node had said nothing for so long, as one does whose loop is blocked."""
    blocked, port = FakeNode(), free_port()
    harness.addresses["media"] = [f"127.0.0.1:{port}"]
    client = await harness.scheduler(
        ready=0, silence_seconds=0.6, lost_seconds=60.0, refused_seconds=0.1, max_worker_lost=1
    )
    async with serving_node(blocked, f"127.0.0.1:{port}"):
        await client.sees(1)
        await client.submit("t1")
        here = await blocked.arrival("t1")
        await here.progress(1)
        here.quiet = True
        runner = client.scheduler.dispatcher.runner("t1")
        assert runner is not None
        await until(lambda: runner.age_seconds > 0.35)
    (lost,) = await ended_attempts(client, "t1")
    assert (lost.outcome, lost.error.code) == ("failed", "WORKER_LOST")
    assert "event loop is blocked" in lost.error.message and "node.frozen_seconds" in lost.error.message


async def ended_attempts(client: Client, task_id: str) -> list[task_pb2.AttemptRecord]:
    await client.ended(task_id)
    return await attempts(client, task_id)


@pytest.mark.trial("10.14")
async def test_a_waiting_task_knows_its_place_and_an_honest_estimate(harness: Harness) -> None:
    """Users take turns, so a place counts them; the estimate is unknown until enough was seen, then says what it is made of."""
    node = await harness.node()
    client = await harness.scheduler(limits={"max_running_per_user": 1})
    await client.submit("busy", user="cat")
    await node.arrival("busy")
    for name, user in (("a1", "ann"), ("a2", "ann"), ("a3", "ann"), ("b1", "bob"), ("c1", "cat")):
        await client.submit(name, user=user)

    async def place(task_id: str) -> task_pb2.QueuePlace | None:
        async with rpc_errors():
            task = await client.stub.GetTask(task_pb2.GetTaskRequest(task_id=task_id, with_queue_place=True))
        return task.queue_place if task.HasField("queue_place") else None

    places = {name: await place(name) for name in ("a1", "a2", "a3", "b1")}
    assert {name: one.position for name, one in places.items() if one} == {"a1": 1, "b1": 2, "a2": 3, "a3": 4}
    assert not any(one.HasField("estimated_wait_seconds") for one in places.values() if one)
    assert await place("busy") is None, "it runs"
    assert not (await client.get("a1")).HasField("queue_place"), "nobody asked"
    await client.submit("later", delay_seconds=60)
    assert await place("later") is None, "it could not start"
    for _ in range(4):
        client.scheduler.dispatcher.run_times.note("media", 10.0)
    known = await place("a2")
    assert known is not None and known.estimated_wait_seconds == 30.0
    assert "4 attempts" in known.estimate_basis and "1 slot" in known.estimate_basis
