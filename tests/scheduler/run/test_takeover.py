"""What happens when a scheduler, a node, the network between them, or Redis goes away: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from runtime.channel import open_channel
from runtime.errors import TaskNotFound
from runtime.rpc_errors import rpc_errors
from scheduler.queue.keys import Keys
from tests.scheduler.conftest import RUNTIME, Client, Harness, claim_nothing, until
from tests.scheduler.fake_node import FakeNode, serving_node
from tests.scheduler.short_times import PREFIX, SHORT
from yivideo.task.v1 import task_pb2, task_pb2_grpc

LIVE = {"scheduler_ttl_seconds": 1.0, "lease_seconds": 2.0}


def _sequences(events: list[task_pb2.TaskEvent]) -> list[int]:
    return [event.sequence for event in events]


@asynccontextmanager
async def scheduler_process(
    harness: Harness, tmp_path: Path
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `python -m scheduler` as a process of its own; gives it and its address."""
    port_file = tmp_path / "log"
    settings = harness.settings()
    config = tmp_path / "scheduler.yaml"
    nodes = "".join(
        f"\n    - {{node: {section.node}, addresses: [{', '.join(section.addresses)}]}}"
        for section in settings.scheduler.nodes
    )
    lengths = "".join(f"\n  {name}: {value}" for name, value in SHORT.items() if name != "key_prefix")
    config.write_text(
        f'runtime: {{metrics_listen: ""}}\nscheduler:\n  redis_url: {harness.redis_url}\n'
        f'  key_prefix: "{PREFIX}"{lengths}\n  nodes:{nodes}\n'
    )
    with port_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler"], stderr=log, env={"YIVIDEO_CONFIG": str(config), "PATH": "/usr/bin:/bin"},
            cwd=Path(__file__).parents[3],
        )  # fmt: skip
    try:
        await until(lambda: '"event":"listening"' in port_file.read_text() or process.poll() is not None, 20)
        assert process.poll() is None, port_file.read_text()
        line = next(part for part in port_file.read_text().splitlines() if '"listening"' in part)
        yield process, line.split('"address":"')[1].split('"')[0]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


async def test_a_killed_schedulers_attempt_goes_on_without_restart(harness: Harness, tmp_path: Path) -> None:
    """Another replica attaches to the same attempt; its events continue without a gap or a duplicate."""
    node = await harness.node()
    async with scheduler_process(harness, tmp_path) as (process, address):
        second = await harness.scheduler()
        async with open_channel(address, RUNTIME) as channel:
            first = Client(task_pb2_grpc.TaskServiceStub(channel), second.scheduler, address)
            claim_again = claim_nothing(second.scheduler)
            await first.submit("t1")
            here = await node.arrival("t1")
            await here.say(log=task_pb2.TaskLog(message="10"))
            await until(lambda: here.watchers == 1)
        process.kill()
        process.wait()
        claim_again()
        await here.say(log=task_pb2.TaskLog(message="20"))
        await until(lambda: here.attached == 1)
        await here.say(log=task_pb2.TaskLog(message="30"))
        await here.complete()
        events = await second.events("t1")
    assert [e.log.message for e in events if e.HasField("log")] == ["10", "20", "30"]
    assert _sequences(events) == list(range(1, len(events) + 1))
    task = await second.get("t1")
    assert (task.state, task.attempt, task.worker_lost_count) == (task_pb2.TASK_STATE_COMPLETED, 1, 0)
    assert node.started == [("t1", 1)]


async def test_a_stopped_scheduler_that_comes_back_changes_nothing(harness: Harness, tmp_path: Path) -> None:
    """A replica that was frozen while another took over lets go when it wakes; the task ends once."""
    node = await harness.node()
    async with scheduler_process(harness, tmp_path) as (process, address):
        second = await harness.scheduler()
        claim_again = claim_nothing(second.scheduler)
        async with open_channel(address, RUNTIME) as channel:
            first = Client(task_pb2_grpc.TaskServiceStub(channel), second.scheduler, address)
            await first.submit("t1")
            here = await node.arrival("t1")
            await until(lambda: here.watchers == 1)
        process.send_signal(signal.SIGSTOP)
        claim_again()
        await until(lambda: here.attached == 1)
        process.send_signal(signal.SIGCONT)
        await until(lambda: here.watchers == 1)
        await here.progress(50)
        await here.complete()
        events = await second.events("t1")
    assert [e.WhichOneof("event") for e in events] == ["accepted", "started", "progress", "completed"]
    assert node.started == [("t1", 1)]


async def test_a_scheduler_told_to_stop_hands_over_at_once(harness: Harness, tmp_path: Path) -> None:
    """SIGTERM: attempts are adopted without waiting for a lease, watchers are told to reconnect, the process ends with 0."""
    node = await harness.node()
    async with scheduler_process(harness, tmp_path) as (process, address):
        second = await harness.scheduler(lease_seconds=60, scheduler_ttl_seconds=60)
        claim_again = claim_nothing(second.scheduler)
        async with open_channel(address, RUNTIME) as channel:
            first = Client(task_pb2_grpc.TaskServiceStub(channel), second.scheduler, address)
            await first.submit("t1")
            here = await node.arrival("t1")
            seen: list[task_pb2.TaskEvent] = []

            async def watch() -> str:
                try:
                    async for event in first.watch("t1"):
                        seen.append(event)
                except Exception as error:
                    return type(error).__name__
                return "ended"

            watching = asyncio.create_task(watch())
            await until(lambda: len(seen) == 2)
            claim_again()
            process.terminate()
            assert await watching == "Draining"
            await until(lambda: here.attached == 1, 3)
            assert await asyncio.to_thread(process.wait, 10) == 0
        assert here.cancel is None
        await here.complete()
        rest = await second.events("t1", after=seen[-1].sequence)
        assert _sequences(rest) == [3]


async def test_a_broken_stream_is_attached_again(harness: Harness, free_port: Callable[[], int]) -> None:
    """A node that is away for less than the grace time goes on with the same attempt, and no event is lost or doubled."""
    node, port = FakeNode(), free_port()
    harness.addresses["media"] = [f"127.0.0.1:{port}"]
    client = await harness.scheduler(ready=0, lost_seconds=10.0)
    async with serving_node(node, f"127.0.0.1:{port}"):
        await client.sees(1)
        await client.submit("t1")
        here = await node.arrival("t1")
        await here.progress(10)
        await until_sequence(client, "t1", 3)
    await here.progress(20)
    async with serving_node(node, f"127.0.0.1:{port}"):
        await here.complete()
        events = await client.events("t1")
    assert [e.WhichOneof("event") for e in events] == [
        "accepted",
        "started",
        "progress",
        "progress",
        "completed",
    ]
    assert node.started == [("t1", 1)]


async def until_sequence(client: Client, task_id: str, sequence: int) -> None:
    """Wait until a task has so many stored events."""
    async with asyncio.timeout(10):
        while (await client.get(task_id)).last_sequence < sequence:
            await asyncio.sleep(0.01)


async def test_a_lost_node_s_task_runs_again_elsewhere(
    harness: Harness, free_port: Callable[[], int]
) -> None:
    """When a node stays away for the grace time, attempt 2 begins on another replica with the checkpoint of attempt 1."""
    lost, port = FakeNode(replica="lost"), free_port()
    harness.addresses["media"] = [f"127.0.0.1:{port}"]
    client = await harness.scheduler(ready=0, lost_seconds=0.4)
    async with serving_node(lost, f"127.0.0.1:{port}"):
        await client.sees(1)
        await client.submit("t1")
        here = await lost.arrival("t1")
        await here.progress(10)
        await until_sequence(client, "t1", 3)
    broken = time.monotonic()
    other = await harness.node(replica="other")
    await harness.scheduler(ready=1, lost_seconds=0.4)
    again = await other.arrival("t1", 2)
    assert time.monotonic() - broken > 0.3
    assert again.request.fence > here.request.fence
    await again.complete()
    task = await client.ended("t1")
    assert (task.attempt, task.worker_lost_count, task.replica) == (2, 1, "other")


async def test_a_node_that_ended_is_not_waited_for_as_one_that_is_silent(
    harness: Harness, free_port: Callable[[], int]
) -> None:
    """Nobody listens at its address: the next attempt begins after `refused_seconds`, not after `lost_seconds`."""
    ended, port = FakeNode(replica="ended"), free_port()
    harness.addresses["media"] = [f"127.0.0.1:{port}"]
    client = await harness.scheduler(ready=0, lost_seconds=60.0, refused_seconds=0.3)
    async with serving_node(ended, f"127.0.0.1:{port}"):
        await client.sees(1)
        await client.submit("t1")
        await ended.arrival("t1")
        await until_sequence(client, "t1", 2)
    other = await harness.node(replica="other")
    await harness.scheduler(ready=1, lost_seconds=60.0, refused_seconds=0.3)
    await (await other.arrival("t1", 2)).complete()
    assert (await client.ended("t1")).worker_lost_count == 1


async def test_a_silent_node_is_given_up_although_its_attempt_changes_owners(harness: Harness) -> None:
    """Each adoption of an attempt whose node says nothing goes on with the wait of the owner before it."""
    node = await harness.node(slots=2)
    times: dict[str, Any] = {"lease_seconds": 0.7, "silence_seconds": 0.5, "lost_seconds": 2.5}
    client = await harness.scheduler(**times)
    await harness.scheduler(**times)
    node.quiet = True
    await client.submit("t1")
    await node.arrival("t1")
    again = await node.arrival("t1", 2, seconds=8)
    again.quiet = False
    await again.complete()
    assert (await client.ended("t1")).worker_lost_count == 1


async def test_a_restarted_node_that_does_not_know_the_attempt_is_enough(
    harness: Harness, free_port: Callable[[], int]
) -> None:
    """A node that answers NOT_FOUND has lost the attempt: the next one begins at once, not after the grace time."""
    before, after, port = FakeNode(replica="before"), FakeNode(replica="after"), free_port()
    harness.addresses["media"] = [f"127.0.0.1:{port}"]
    client = await harness.scheduler(ready=0, lost_seconds=30.0, silence_seconds=20.0)
    async with serving_node(before, f"127.0.0.1:{port}"):
        await client.sees(1)
        await client.submit("t1")
        await before.arrival("t1")
        await until_sequence(client, "t1", 2)
    async with serving_node(after, f"127.0.0.1:{port}"):
        here = await after.arrival("t1", 2, seconds=5)
        await here.complete()
        assert (await client.ended("t1")).worker_lost_count == 1


async def test_a_frozen_node_is_dropped_for_its_silence(harness: Harness) -> None:
    """Without heartbeats the stream is opened again, and the attempt continues when the node speaks again."""
    node = await harness.node()
    client = await harness.scheduler(silence_seconds=0.4, lost_seconds=30)
    node.quiet = True
    await client.submit("t1")
    here = await node.arrival("t1")
    await until(lambda: here.attached >= 1)
    here.quiet = False
    await here.complete()
    task = await client.ended("t1")
    assert (task.attempt, task.worker_lost_count) == (1, 0)


async def test_a_task_that_loses_its_node_too_often_is_a_dead_letter(harness: Harness) -> None:
    """The third loss fails the task with WORKER_LOST and keeps it; a replay runs it again under its own id."""
    node = await harness.node()
    client = await harness.scheduler(lost_seconds=0.0)

    async def lose(attempt: int) -> None:
        await node.arrival("t1", attempt)
        await until_sequence(client, "t1", 2 * attempt)  # only an attempt that has begun is counted
        del node.attempts["t1"]
        runner = client.scheduler.dispatcher.runner("t1")
        assert runner is not None and runner._followed is not None
        runner._followed.cancel()

    await client.submit("t1")
    for attempt in (1, 2, 3):
        await lose(attempt)
    task = await client.ended("t1")
    assert (task.state, task.error.code, task.worker_lost_count) == (
        task_pb2.TASK_STATE_FAILED,
        "WORKER_LOST",
        3,
    )
    for only in ("", "media"):
        letters = await client.stub.ListDeadLetters(task_pb2.ListDeadLettersRequest(node=only))
        assert [letter.spec.task_id for letter in letters.tasks] == ["t1"]
    replayed = await client.stub.ReplayDeadLetter(task_pb2.ReplayDeadLetterRequest(task_id="t1"))
    assert (replayed.state, replayed.worker_lost_count) == (task_pb2.TASK_STATE_PENDING, 0)
    await (await node.arrival("t1", 4)).complete()
    async with asyncio.timeout(5):
        while (await client.get("t1")).state != task_pb2.TASK_STATE_COMPLETED:
            await asyncio.sleep(0.01)
    assert not (await client.stub.ListDeadLetters(task_pb2.ListDeadLettersRequest())).tasks
    with pytest.raises(TaskNotFound):
        async with rpc_errors():
            await client.stub.ReplayDeadLetter(task_pb2.ReplayDeadLetterRequest(task_id="t1"))


class RedisProcess:
    """A Redis of the test's own, that can be killed and started again on the same data."""

    def __init__(self, folder: Path, port: int) -> None:
        self._arguments = [
            shutil.which("redis-server") or "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
            "--save", "", "--appendonly", "yes", "--appendfsync", "always",
        ]  # fmt: skip
        self.client = redis.Redis(port=port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.DEVNULL)
        while True:
            try:
                self.client.ping()
                return
            except (redis.ConnectionError, redis.BusyLoadingError):
                time.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self.client.close()


@pytest.fixture
def own_redis(tmp_path: Path, free_port: Callable[[], int], harness: Harness) -> RedisProcess:
    """A Redis that only this test uses; the harness is pointed at it."""
    port = free_port()
    process = RedisProcess(tmp_path, port)
    process.start()
    harness.redis_url = f"redis://127.0.0.1:{port}/0"
    harness.stack.callback(process.close)
    return process


async def test_redis_killed_under_a_running_task_costs_nothing(
    harness: Harness, own_redis: RedisProcess
) -> None:
    """The stream stays, the events wait, and all are stored once Redis is back; accepted tasks are still there."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    await client.submit("t2")
    here = await node.arrival("t1")
    watching = asyncio.create_task(client.events("t1"))
    await until_sequence(client, "t1", 2)
    own_redis.kill()
    await here.progress(50)
    await asyncio.sleep(0.2)
    own_redis.start()
    await here.complete()
    events = await watching
    assert _sequences(events) == [1, 2, 3, 4]
    await (await node.arrival("t2")).complete()
    assert (await client.ended("t2")).attempt == 1


async def test_a_scheduler_that_cannot_prove_its_ownership_lets_go(
    harness: Harness, own_redis: RedisProcess
) -> None:
    """With Redis silent for longer than a dead scheduler's time, streams are dropped; afterwards the same attempt goes on."""
    node = await harness.node()
    client = await harness.scheduler(lost_seconds=20)
    await client.submit("t1")
    here = await node.arrival("t1")
    await until(lambda: here.watchers == 1)
    own_redis.kill()
    await until(lambda: here.watchers == 0, 5)
    assert client.scheduler.dispatcher.may_own is False
    own_redis.start()
    await until(lambda: here.watchers == 1, 5)
    await here.complete()
    task = await client.ended("t1")
    assert (task.attempt, task.worker_lost_count, node.started) == (1, 0, [("t1", 1)])


async def test_ended_tasks_disappear_when_their_time_has_come(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """After the result TTL a task is in no listing and no key is left of it; a live task never expires."""
    node = await harness.node(slots=2)
    client = await harness.scheduler(result_ttl_seconds=0.3)
    await client.submit("live")
    await client.submit("t1", user="ann", workflow_id="w")
    await node.arrival("live")
    await (await node.arrival("t1")).complete()
    await until(
        lambda: not clean_redis.exists(keys.task("t1"), keys.task("t1", "ev"), keys.task("t1", "spec"))
    )
    with pytest.raises(TaskNotFound):
        await client.get("t1")
    assert clean_redis.zrange(keys.tasks, 0, -1) == [b"live"]
    assert not clean_redis.exists(keys.user_tasks("ann"), keys.workflow("w"))
    assert (await client.get("live")).state == task_pb2.TASK_STATE_RUNNING
