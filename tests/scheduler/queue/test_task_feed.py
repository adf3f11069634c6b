"""The events of many tasks in one stream: whose, in which order, from where on, and what is said when some are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from runtime.errors import Draining, InvalidArgument
from runtime.rpc_errors import rpc_errors
from scheduler.queue.keys import Keys
from tests.scheduler.conftest import Client, Harness, until
from yivideo.task.v1 import task_pb2

Told = tuple[str, str]


class Feed:
    """One watcher."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.cursor = ""
        self.gap = False

    async def message(self) -> task_pb2.WatchEventsResponse:
        async with asyncio.timeout(10), rpc_errors():
            told: task_pb2.WatchEventsResponse = await self._call.read()
        self.cursor, self.gap = told.cursor, self.gap or told.gap
        return told

    async def next(self) -> Told:
        """The next event: its task and its kind."""
        while not (told := await self.message()).HasField("event"):
            pass
        return told.event.task_id, told.event.WhichOneof("event") or ""

    async def take(self, count: int) -> list[Told]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def watching(client: Client, **fields: Any) -> AsyncIterator[Feed]:
    call = client.stub.WatchEvents(task_pb2.WatchEventsRequest(**fields))
    try:
        feed = Feed(call)
        await feed.message()
        yield feed
    finally:
        call.cancel()


async def run(harness: Harness, client: Client, task_id: str, **fields: Any) -> None:
    """Let a task run to its end."""
    await client.submit(task_id, **fields)
    await client.ended(task_id)


RUN = ("accepted", "started", "completed")


@pytest.fixture
async def client(harness: Harness) -> Client:
    await harness.node(auto=True, slots=4)
    return await harness.scheduler(watch_heartbeat_seconds=0.2)


@pytest.mark.trial("10.14")
async def test_a_stream_has_what_it_was_asked_for_in_order_and_goes_on_where_it_broke(
    harness: Harness, client: Client
) -> None:
    """By user, workflow, label and kind; a cursor goes on behind its event, at another replica too; all of it once."""
    other = await harness.scheduler()
    async with (
        watching(client, user="ann") as of_ann,
        watching(client, workflow_id="w") as of_w,
        watching(other, labels={"k": "v"}, kinds=["completed"]) as of_label,
        watching(client) as of_all,
    ):
        await run(harness, client, "a1", user="ann", labels={"k": "v"})
        await run(harness, client, "b1", user="bob", workflow_id="w")
        await run(harness, client, "a2", user="ann", workflow_id="w", labels={"k": "v", "more": "1"})
        assert await of_ann.take(6) == [(task, kind) for task in ("a1", "a2") for kind in RUN]
        assert await of_w.take(6) == [(task, kind) for task in ("b1", "a2") for kind in RUN]
        assert await of_label.take(2) == [("a1", "completed"), ("a2", "completed")]
        assert await of_all.take(4) == [*(("a1", kind) for kind in RUN), ("b1", "accepted")]
        async with watching(other, after_cursor=of_all.cursor) as resumed:
            assert await resumed.take(5) == [
                *(("b1", kind) for kind in RUN[1:]),
                *(("a2", kind) for kind in RUN),
            ]
            assert not resumed.gap
            await run(harness, client, "b2", user="bob")
            assert await resumed.take(3) == [("b2", kind) for kind in RUN]
        quiet = of_ann.cursor
        while of_ann.cursor == quiet:  # a sign of life moves the place on past what is not ann's
            assert not (await of_ann.message()).HasField("event")
    await until(lambda: client.scheduler.task_feed.watcher_count == 0)


@pytest.mark.trial("10.14")
async def test_what_is_no_longer_kept_is_said_and_what_was_deleted_is_not_told(
    harness: Harness, client: Client, clean_redis: redis.Redis, keys: Keys
) -> None:
    """A place before the oldest entry, or of another store, is a gap; a deleted task's events go with it."""
    async with watching(client) as first:
        start = first.cursor
        await run(harness, client, "t1", user="ann")
        await run(harness, client, "t2", user="ann")
        await first.take(6)
    async with rpc_errors():
        await client.stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id="t1"))
    await run(harness, client, "t1", user="bob")
    async with watching(client, after_cursor="1-0", user="ann") as again:
        assert again.gap
        assert await again.take(3) == [("t2", kind) for kind in RUN]
    clean_redis.xtrim(keys.feed, maxlen=1, approximate=False)
    async with watching(client, after_cursor=first.cursor) as later:
        assert later.gap
        assert await later.take(1) == [("t1", "completed")]
    async with watching(client, after_cursor=f"{2**47}-0") as foreign:
        assert foreign.gap
        await run(harness, client, "t3")
        assert await foreign.take(3) == [("t3", kind) for kind in RUN]
    assert start


async def test_a_watcher_far_behind_reads_pages(harness: Harness, client: Client) -> None:
    """More events than a page, for one who begins at their start while others read along: all of them, once, in order."""
    async with watching(client) as early:
        start = early.cursor
        for n in range(150):
            await client.submit(f"t{n}")
        await client.ended("t149")
        async with watching(client, after_cursor=start, kinds=["accepted"]) as late:
            assert await late.take(150) == [(f"t{n}", "accepted") for n in range(150)]
        assert len(await early.take(450)) == 450


async def test_bad_conditions_are_refused_and_a_drain_sends_watchers_elsewhere(client: Client) -> None:
    """A cursor or a kind that is none is InvalidArgument; a draining replica says so."""
    for fields in ({"after_cursor": "soon"}, {"kinds": ["exploded"]}, {"kinds": ["heartbeat"]}):
        with pytest.raises(InvalidArgument):
            async with watching(client, **fields):
                pass
    async with watching(client) as feed:
        client.scheduler.draining.set()
        with pytest.raises(Draining):
            await feed.next()
