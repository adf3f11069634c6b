"""What a client is told to be done is on so many replicas of the store, or it is not told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import redis

from bench.redis_group import RedisGroup
from runtime.errors import TaskConflict, Unavailable
from runtime.settings import SettingsError, load_settings
from scheduler.settings import SchedulerSettings
from tests.scheduler.conftest import Harness
from tests.scheduler.queue.harness import Queue, running_queue
from yivideo.task.v1 import task_pb2


@pytest.fixture
def group(tmp_path: Path) -> Iterator[RedisGroup]:
    """A primary, a replica and three sentinels."""
    group = RedisGroup(tmp_path, sync="no", down_ms=500)
    with group.running():
        yield group


def queue_on(group: RedisGroup, **settings: float) -> AbstractAsyncContextManager[Queue]:
    """Return the stores of a replica that asks for one replica of Redis."""
    raw = redis.Redis()  # nobody looks into the store behind its back here
    return running_queue(group.url(), raw, "a", min_replicas=1, **settings)


async def test_a_store_without_replicas_promises_nothing(redis_url: str, clean_redis: redis.Redis) -> None:
    """The task is stored, and its client told to ask again, with the setting's name; what is refused is refused as ever."""
    async with running_queue(redis_url, clean_redis, "a", min_replicas=1, min_replicas_seconds=0.05) as queue:
        for _ in range(2):
            submitted = await queue.submitted("one")
            assert submitted.refusal is not None
            assert "0 of 1 replicas" in str(submitted.refusal)
            assert "scheduler.min_replicas" in str(submitted.refusal)
        assert submitted.outcome == "existing"
        with pytest.raises(Unavailable, match=r"scheduler\.min_replicas"):
            await queue.tasks.cancel("one", "why", None)
        assert (await queue.tasks.load("one")).record.state == "cancelled"
        with pytest.raises(TaskConflict):
            await queue.submit("one", priority=7)


async def test_a_client_hears_unavailable(harness: Harness) -> None:
    """SubmitTask is UNAVAILABLE, and again when it is repeated; what was claimed with the task runs to its end all the same."""
    node = await harness.node()
    client = await harness.scheduler(min_replicas=1, min_replicas_seconds=0.05)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"scheduler\.min_replicas"):
            await client.submit("one")
    await (await node.arrival("one")).complete()
    assert (await client.ended("one")).state == task_pb2.TASK_STATE_COMPLETED


def test_a_url_that_means_nothing_is_a_fault_of_the_setting() -> None:
    """The process does not start, and says which setting is at fault, without its password."""
    environment = {"YIVIDEO_SCHEDULER__REDIS_URL": "redis+sentinel://:hidden@a,b"}
    with pytest.raises(SettingsError, match=r"scheduler\.redis_url.*sentinel") as refused:
        load_settings(SchedulerSettings, environment)
    assert "hidden" not in str(refused.value)
    environment = {"YIVIDEO_SCHEDULER__REDIS_URL": "redis+sentinel://:hidden@a,b/tasks/0?foo=1"}
    with pytest.raises(SettingsError, match=r"scheduler\.redis_url.*'foo'"):
        load_settings(SchedulerSettings, environment)


@pytest.mark.slow
async def test_what_was_acknowledged_survives_the_primary(group: RedisGroup) -> None:
    """A submit with the only replica away is refused; the same one is accepted when it is back, and is there after a failover."""
    async with queue_on(group, min_replicas_seconds=0.2, redis_retry_seconds=20) as queue:
        before, replica = group.servers
        assert (await queue.submitted("one")).refusal is None
        replica.signal(signal.SIGSTOP)
        assert (await queue.submitted("two")).refusal is not None
        replica.signal(signal.SIGCONT)
        assert (await queue.submitted("two")).refusal is None
        before.kill()
        group.wait_for_failover(before)
        for task_id in ("one", "two"):
            assert (await queue.tasks.load(task_id)).record.state == "pending"
        refused = await queue.submitted("three")
        assert refused.refusal is not None, "the only replica is the primary now"
        group.restart(before)
        group.wait_for_replica()
        assert (await queue.submitted("three")).refusal is None
        claim = await queue.claim()
        assert claim.record.task_id == "one"
        assert await queue.complete(claim) == "ended"
