"""Event streams: replay, resumption, gaps, many watchers on one connection, slow watchers, the end of a record."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
import redis

from runtime.errors import TaskNotFound
from runtime.rpc_errors import rpc_errors
from scheduler.queue.keys import Keys
from tests.scheduler.conftest import Harness, until
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2


async def test_a_watch_resumes_after_any_sequence(harness: Harness) -> None:
    """From every position the rest of the history comes, without a gap or a duplicate; past the end there is nothing."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    for percent in range(10, 60, 10):
        await here.progress(percent)
        await here.say(log=task_pb2.TaskLog(message=str(percent)))
    await here.complete()
    whole = await client.events("t1")
    assert [event.sequence for event in whole] == list(range(1, len(whole) + 1))
    for after in range(len(whole)):
        assert await client.events("t1", after) == whole[after:]
    assert await client.events("t1", len(whole)) == []
    with pytest.raises(TaskNotFound):
        await client.events("nobody")


async def test_many_watchers_share_one_connection(harness: Harness, clean_redis: redis.Redis) -> None:
    """A hundred watchers see all events, over a single subscribed connection, and leave no subscription behind."""
    node = await harness.node(slots=2)
    client = await harness.scheduler()
    for name in ("t1", "t2"):
        await client.submit(name)
    watching = [asyncio.create_task(client.events(f"t{n % 2 + 1}")) for n in range(100)]
    await until(lambda: client.scheduler.feed.watcher_count == 100)
    listeners = [one for one in clean_redis.client_list() if int(one["sub"]) > 0]
    assert [int(one["sub"]) for one in listeners] == [3]
    for name in ("t1", "t2"):
        here = await node.arrival(name)
        for percent in range(20):
            await here.progress(percent)
        await here.complete()
    for events in await asyncio.gather(*watching):
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert events[-1].HasField("completed")
    await until(lambda: client.scheduler.feed.watcher_count == 0)
    assert [int(one["sub"]) for one in clean_redis.client_list() if int(one["sub"]) > 0] == [1]


async def test_a_slow_watcher_loses_nothing_that_is_kept(harness: Harness) -> None:
    """A watcher whose small buffer runs over reads the stream again instead of skipping."""
    node = await harness.node()
    client = await harness.scheduler(watch_buffer_events=2)
    await client.submit("t1")
    here = await node.arrival("t1")
    stream = client.watch("t1")
    first = await anext(stream)
    for percent in range(50):
        await here.say(log=task_pb2.TaskLog(message=str(percent)))
    await here.complete()
    await client.ended("t1")
    rest = [event async for event in stream]
    assert [event.sequence for event in (first, *rest)] == list(range(1, 54))


async def test_trimmed_events_are_told_as_a_gap_and_the_end_is_never_trimmed(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """What the stream does not keep any more comes as one gap with the present picture, then all that is kept."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    for n in range(1400):
        await here.say(log=task_pb2.TaskLog(message=str(n)))
    await here.complete()
    await client.ended("t1")
    kept = clean_redis.xlen(keys.task("t1", "ev"))
    assert 1000 <= kept < 1200
    events = await client.events("t1")
    gap = events[0].gap
    assert (gap.first_missing_sequence, gap.last_missing_sequence) == (1, 1403 - kept)
    assert gap.snapshot.state == task_pb2.TASK_STATE_COMPLETED
    assert events[0].sequence == 0
    assert [event.sequence for event in events[1:]] == list(range(1404 - kept, 1404))
    assert events[-1].HasField("completed")


async def test_a_position_that_never_was_is_told(harness: Harness) -> None:
    """A cursor beyond the history (another task's, or from before a store was rewound) gets the present picture."""
    await harness.node(auto=True)
    client = await harness.scheduler()
    await client.submit("t1")
    await client.ended("t1")
    events = await client.events("t1", after=500)
    assert [event.WhichOneof("event") for event in events] == ["gap"]
    assert events[0].gap.snapshot.state == task_pb2.TASK_STATE_COMPLETED


async def test_a_large_result_is_kept_once_and_comes_whole(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """A result of hundreds of kilobytes is not doubled into the event stream, and every watcher gets it."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    watching = asyncio.create_task(client.events("t1"))
    here = await node.arrival("t1")
    await here.complete({"audio_path": "x", "text": "y" * 400_000})
    for events in (await watching, await client.events("t1")):
        assert len(str(events[-1].completed.output["text"])) == 400_000
    assert (clean_redis.memory_usage(keys.task("t1", "ev")) or 0) < 20_000


async def test_heartbeats_come_when_nothing_happens(harness: Harness) -> None:
    """A quiet watch hears a heartbeat without a sequence, so that a dead connection is noticed."""
    await harness.node()
    client = await harness.scheduler(watch_heartbeat_seconds=0.05)
    await client.submit("t1")
    call = client.stub.WatchTask(task_pb2.WatchTaskRequest(task_id="t1"))
    async with asyncio.timeout(5):
        async for event in call:
            if event.HasField("heartbeat"):
                assert event.sequence == 0
                break
    call.cancel()


async def test_watchers_of_a_deleted_task_are_told(harness: Harness) -> None:
    """When the record goes, an open watch of a task that ran again ends with NOT_FOUND instead of waiting for ever."""
    await harness.node(slots=0)
    client = await harness.scheduler()
    await client.submit("t1")
    seen: list[str] = []

    async def watch() -> None:
        async for event in client.watch("t1"):
            seen.append(event.WhichOneof("event") or "")

    watching = asyncio.create_task(watch())
    await until(lambda: seen == ["accepted"])
    async with rpc_errors():
        done = await client.stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id="t1", force=True))
    assert done.status == "success"
    await watching
    assert seen == ["accepted", "cancelled"]


async def test_a_lost_connection_to_redis_loses_no_event(harness: Harness, clean_redis: redis.Redis) -> None:
    """When the subscribed connection is cut, the watch reads what it missed and goes on."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    watching = asyncio.create_task(client.events("t1"))
    await until(lambda: client.scheduler.feed.watcher_count == 1)
    for round_number in range(3):
        clean_redis.client_kill_filter(_type="pubsub")
        await here.progress(round_number * 10)
        await here.say(log=task_pb2.TaskLog(message="still here"))
    await here.complete()
    events = await watching
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert clean_redis.exists(PREFIX + "t:t1:ev")


async def test_what_is_kept_for_a_watcher_that_does_not_read_is_bounded_in_bytes(harness: Harness) -> None:
    """Far fewer large events than `watch_buffer_events` send a slow watcher back to the store, and it misses none."""
    node = await harness.node()
    client = await harness.scheduler(watch_buffer_events=10_000)
    await client.submit("t1")
    here = await node.arrival("t1")
    following = client.scheduler.feed.follow("t1", 0, quiet_seconds=10)
    first = await anext(following)
    (watcher,) = next(iter(client.scheduler.feed._watchers.values()))
    for _ in range(600):
        await here.say(log=task_pb2.TaskLog(message="x" * 2000))
    await here.complete()
    await client.ended("t1")
    assert sum(len(event[4]) for event in watcher.buffered) <= 256 * 1024 + 2100
    seen = [first]
    async with asyncio.timeout(10):
        while not seen[-1] or not seen[-1].HasField("completed"):
            seen.append(await anext(following))
    await following.aclose()
    assert [event.sequence for event in seen if event] == list(range(1, 604))


async def test_a_position_that_never_was_on_a_task_that_runs_goes_on(harness: Harness) -> None:
    """One gap, then exactly what follows its picture, up to the end."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    stream = client.watch("t1", after=500)
    gap = (await anext(stream)).gap
    await here.say(log=task_pb2.TaskLog(message="on"))
    await here.complete()
    last = gap.snapshot.last_sequence
    rest = [event.sequence async for event in stream]
    assert rest == list(range(last + 1, last + 1 + len(rest))) and len(rest) >= 2


async def test_a_client_that_does_not_read_is_told_of_the_gap(harness: Harness) -> None:
    """While a gRPC client takes nothing, 6 MB of events pass it by; then it gets each event, or a gap that names it."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    stream = client.watch("t1")
    seen = [await anext(stream)]
    for _ in range(3000):
        await here.say(log=task_pb2.TaskLog(message="x" * 2000))
    await here.complete()
    async with asyncio.timeout(20):
        while (await client.get("t1")).state != task_pb2.TASK_STATE_COMPLETED:
            await asyncio.sleep(0.02)
    seen += [event async for event in stream]
    covered = [
        (event.gap.first_missing_sequence, event.gap.last_missing_sequence)
        if event.HasField("gap")
        else (event.sequence, event.sequence)
        for event in seen
    ]
    assert any(event.HasField("gap") for event in seen)
    assert [first for first, _ in covered] == [1, *(last + 1 for _, last in covered[:-1])]
    assert seen[-1].HasField("completed")


@pytest.mark.parametrize("rewound_to", ["fewer events", "as many others"])
async def test_a_watch_goes_on_when_the_store_forgets(
    harness: Harness, clean_redis: redis.Redis, rewound_to: str
) -> None:
    """A failover to a replica that lagged takes events back that were told. A watch says so, and goes on to the task's end.

    Also when as many other events have come meanwhile as were taken back: numbers alone would not show it.
    """
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    await here.progress(10)
    watching = client.watch("t1")
    seen = [await anext(watching) for _ in range(3)]
    stream = f"{PREFIX}t:t1:ev"
    before = {key: clean_redis.dump(key) or b"" for key in clean_redis.keys(f"{PREFIX}t:t1*")}
    await here.progress(20)
    seen.append(await anext(watching))
    assert seen[-1].progress.percent == 20
    for key, value in before.items():
        clean_redis.restore(key, 0, value, replace=True)
    if rewound_to == "as many others":
        (entry,) = cast(list[tuple[bytes, dict[Any, Any]]], clean_redis.xrevrange(stream, count=1))
        other = entry[1] | {b"t": str(int(entry[1][b"t"]) + 5).encode()}
        clean_redis.xadd(stream, other, id=f"{seen[-1].sequence}-0")
        clean_redis.hset(f"{PREFIX}t:t1", "seq", seen[-1].sequence)
    clean_redis.client_kill_filter(_type="pubsub")
    gap = await anext(watching)
    assert gap.HasField("gap")
    assert gap.gap.snapshot.state == task_pb2.TASK_STATE_RUNNING
    await here.complete()
    rest = [event async for event in watching]
    assert rest[-1].HasField("completed")
    assert [one.sequence for one in rest] == list(
        range(gap.gap.snapshot.last_sequence + 1, rest[-1].sequence + 1)
    )


async def test_a_watch_behind_what_was_trimmed_reads_to_the_newest(
    harness: Harness, clean_redis: redis.Redis
) -> None:
    """A slow client's last event may be trimmed, with pages of others behind it: it gets all of those, after a gap."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    await here.progress(10)
    watching = client.watch("t1")
    seen = [await anext(watching) for _ in range(3)]
    told, newest = seen[-1].sequence, seen[-1].sequence + 400
    stream = f"{PREFIX}t:t1:ev"
    (entry,) = cast(list[tuple[bytes, dict[Any, Any]]], clean_redis.xrevrange(stream, count=1))
    for sequence in range(told + 1, newest + 1):
        clean_redis.xadd(stream, entry[1], id=f"{sequence}-0")
    clean_redis.hset(f"{PREFIX}t:t1", "seq", newest)
    clean_redis.xtrim(stream, minid=f"{told + 100}-0", approximate=False)
    clean_redis.client_kill_filter(_type="pubsub")
    async with asyncio.timeout(20):
        gap = await anext(watching)
        assert (gap.gap.first_missing_sequence, gap.gap.last_missing_sequence) == (told + 1, told + 99)
        rest = [(await anext(watching)).sequence for _ in range(301)]
    assert rest == list(range(told + 100, newest + 1))
    await here.complete()
    assert [event async for event in watching][-1].HasField("completed")
