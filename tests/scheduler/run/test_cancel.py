"""Cancel on a real node under a real scheduler: whatever it races with, one end is told, and nothing goes on after it."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from nodekit.testkit import NodeUnderTest
from results.states import is_terminal
from runtime.errors import WrongState
from tests.nodekit import toy
from tests.nodekit.conftest import eventually, is_alive, processes_with
from tests.scheduler.conftest import Client, Harness, until
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2

RACES = 120
SIDE_BY_SIDE = 4

TREE = (
    "ffmpeg -v quiet -nostdin -re -f lavfi -i testsrc=s=32x32:r=5 -metadata title={word} -f null - &"
    " sh -c 'sleep {word}; :' & wait"
)
"""sh, under it ffmpeg, which would go on for ever, and another sh with its child."""


@pytest.fixture
async def client(harness: Harness, tmp_path: Path) -> AsyncIterator[Client]:
    """A scheduler with one replica of the toy node, which runs what it is told in real processes."""
    # A heartbeat is a part of the scheduler's silence_seconds, which are a tenth of a real one's here, as the node's must be.
    async with NodeUnderTest(
        toy.node, tmp_path, slots=SIDE_BY_SIDE, kill_grace_seconds=0.3, heartbeat_seconds=0.1
    ) as node:
        harness.addresses["toy"] = [node.address]
        yield await harness.scheduler()


def terminal_events(events: list[task_pb2.TaskEvent]) -> list[str]:
    return [event.WhichOneof("event") or "" for event in events if is_terminal(event)]


async def test_the_whole_tree_is_gone_when_the_end_is_told(client: Client) -> None:
    """Shell, ffmpeg and the children of both are gone before a client reads that the task was cancelled."""
    word = f"67{uuid.uuid4().int % 10**8}"
    await client.submit("t1", "toy.shell", input={"script": TREE.format(word=word)})
    await eventually(lambda: len(processes_with(word)) >= 4)
    await client.cancel("t1", reason="enough")
    events = await client.events("t1")
    assert processes_with(word) == []
    assert terminal_events(events) == ["cancelled"]


async def test_native_code_is_ended_through_the_scheduler(client: Client, tmp_path: Path) -> None:
    """A worker that holds the interpreter and never returns is ended by a client's cancel, with the grace the client gives."""
    await client.submit("t1", "toy.stuck", input={"folder": str(tmp_path), "how": "holds_the_interpreter"})
    told = tmp_path / "worker.pid"
    await eventually(lambda: told.exists() and told.read_text() != "")
    await client.cancel("t1", grace_seconds=0)
    assert terminal_events(await client.events("t1")) == ["cancelled"]
    assert not is_alive(int(told.read_text()))


async def test_cancel_between_two_attempts(client: Client) -> None:
    """A task that waits for its next attempt is cancelled at once, and no further attempt begins."""
    policy = task_pb2.RetryPolicy(max_attempts=3, initial_delay_seconds=60)
    await client.submit("t1", "toy.fail", input={"how": "task_failed"}, retry_policy=policy)
    async with asyncio.timeout(10):
        async for event in client.watch("t1"):
            if event.WhichOneof("event") == "retrying":
                break
    assert (await client.cancel("t1")).state == task_pb2.TASK_STATE_CANCELLED
    events = await client.events("t1")
    assert terminal_events(events) == ["cancelled"]
    assert [event.WhichOneof("event") for event in events].count("started") == 1


async def test_cancel_that_comes_twice_at_the_same_moment(client: Client) -> None:
    """Of many cancels of one running task one is accepted, and there is one end."""
    word = f"68{uuid.uuid4().int % 10**8}"
    await client.submit(
        "t1", "toy.shell", input={"script": f"trap '' TERM; while :; do sleep 0.02; : {word}; done"}
    )
    await eventually(lambda: processes_with(word) != [])
    answers = await asyncio.gather(
        *(client.cancel("t1", grace_seconds=0.1) for _ in range(8)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 7
    assert all(isinstance(answer, WrongState) for answer in refused)
    assert terminal_events(await client.events("t1")) == ["cancelled"]
    assert processes_with(word) == []


async def test_cancel_races_completion(client: Client, clean_redis: redis.Redis) -> None:
    """However close a cancel comes to the end, there is exactly one, it is what everybody reads, and no slot stays taken."""
    chance = random.Random(7)
    word = f"69{uuid.uuid4().int % 10**8}"
    outcomes: Counter[str] = Counter()

    async def race(name: str) -> None:
        seconds = chance.choice((0.0, 0.01, 0.02))
        await client.submit(name, "toy.shell", input={"script": f"sleep {seconds}; : {word}"})
        await asyncio.sleep(chance.uniform(0.0, 0.06))
        try:
            await client.cancel(name, grace_seconds=chance.choice((0, 0.1)))
        except WrongState:
            outcomes["refused"] += 1
        events = await client.events(name)
        (end,) = terminal_events(events)
        assert is_terminal(events[-1])
        task = await client.get(name)
        assert task.state == {
            "cancelled": task_pb2.TASK_STATE_CANCELLED, "completed": task_pb2.TASK_STATE_COMPLETED,
        }[end]  # fmt: skip
        outcomes[end] += 1

    for first in range(0, RACES, SIDE_BY_SIDE):
        await asyncio.gather(*(race(f"t{first + n}") for n in range(SIDE_BY_SIDE)))
    assert processes_with(word) == []
    assert outcomes["cancelled"] + outcomes["completed"] == RACES
    assert min(outcomes["cancelled"], outcomes["completed"]) > 0, outcomes
    await until(lambda: clean_redis.hgetall(PREFIX + "totals") == {b"queued": b"0", b"running": b"0"})
    assert clean_redis.zcard(PREFIX + "q:toy:lease") == 0
