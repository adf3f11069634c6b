"""Readers of one task share one WatchTask call; a slow or late one costs a page and nobody's time, and misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from gateway.clients import shared_watch
from gateway.clients.backend import open_backend
from gateway.clients.event_ring import EventRing
from gateway.clients.shared_watch import Reader, SharedWatches, StreamsClosing
from gateway.settings import GatewaySection, GatewaySettings
from runtime.errors import Internal, TaskNotFound, Unavailable
from runtime.server import RpcServer
from tests.gateway.conftest import RUNTIME
from tests.gateway.fake_scheduler import FakeScheduler
from yivideo.task.v1 import task_pb2 as pb
from yivideo.task.v1.task_pb2_grpc import add_TaskServiceServicer_to_server


@dataclass
class Place:
    """A scheduler, and watches of its tasks."""

    scheduler: FakeScheduler
    watches: SharedWatches

    async def task(self, task_id: str = "t1") -> None:
        self.scheduler.tasks[task_id] = pb.Task(
            spec=pb.TaskSpec(task_id=task_id), state=pb.TASK_STATE_RUNNING
        )
        await self.log(task_id, 1)

    async def log(self, task_id: str, count: int, size: int = 1) -> None:
        for _ in range(count):
            await self.scheduler.happen(task_id, log=pb.TaskLog(message="x" * size))

    async def end(self, task_id: str = "t1") -> None:
        await self.scheduler.happen(task_id, pb.TASK_STATE_COMPLETED, completed=pb.TaskCompleted())

    def last(self, task_id: str = "t1") -> int:
        return self.scheduler.tasks[task_id].last_sequence

    async def read(self, task_id: str = "t1", after: int = 0) -> list[str]:
        """What one client is told, to the end: sequences, and gaps as `first-last`."""
        with self.watches.reading(task_id, after, self.last(task_id)) as reader:
            return await drained(reader)


async def drained(reader: Reader, until: int | None = None) -> list[str]:
    seen: list[str] = []
    async with asyncio.timeout(20):
        while (until is None or reader.sequence < until) and (told := await reader.next()) is not None:
            if told.event.HasField("gap"):
                seen.append(f"{told.event.gap.first_missing_sequence}-{told.event.gap.last_missing_sequence}")
            elif told.event.sequence:
                seen.append(str(told.event.sequence))
    return seen


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    scheduler, server = FakeScheduler(), RpcServer(RUNTIME)
    server.add(add_TaskServiceServicer_to_server, scheduler, "yivideo.task.v1.TaskService")
    async with server.running() as address:
        section = GatewaySection(scheduler_address=address, filestore_address="127.0.0.1:1")
        async with open_backend(GatewaySettings(runtime=RUNTIME, gateway=section)) as backend:
            watches = SharedWatches(backend)
            yield Place(scheduler, watches)
            await watches.aclose()
            assert watches.kept_bytes == 0, "a ring was left behind"
            assert REGISTRY.get_sample_value("yivideo_gateway_catch_ups") == 0


async def test_two_hundred_readers_cost_one_call(place: Place) -> None:
    """Every reader of a task is fed by the same call, and all see all of it; the last one to leave ends the call."""
    await place.task()
    reading = [asyncio.create_task(place.read()) for _ in range(200)]
    await place.scheduler.wait_watchers(1)
    assert REGISTRY.get_sample_value("yivideo_gateway_shared_watches") == 1
    await place.log("t1", 100)
    await place.end()
    assert all(seen == numbers(1, 102) for seen in await asyncio.gather(*reading))
    assert place.scheduler.most_watchers == 1
    await place.scheduler.wait_watchers(0)
    assert REGISTRY.get_sample_value("yivideo_gateway_shared_watches") == 0


async def test_a_slow_reader_neither_waits_nor_keeps(place: Place) -> None:
    """One that does not read for 2,000 events delays nobody, holds no more than the bounds say, and then misses nothing."""
    await place.task()
    with place.watches.reading("t1", 0, 1) as slow:
        fast = asyncio.create_task(place.read())
        await place.scheduler.wait_watchers(1)
        await place.log("t1", 2000, size=100)
        await place.end()
        assert await fast == numbers(1, 2002)
        assert place.watches.kept_bytes <= shared_watch.RING_BYTES
        assert await drained(slow) == numbers(1, 2002)
    assert place.watches.kept_bytes == 0


async def test_a_large_result_is_fetched_once(place: Place) -> None:
    """An event larger than a ring may be is shared all the same: its readers make no calls of their own."""
    await place.task()
    reading = [asyncio.create_task(place.read()) for _ in range(30)]
    await place.scheduler.wait_watchers(1)
    await place.log("t1", 1, size=3 * shared_watch.RING_BYTES)
    await place.end()
    assert all(seen == numbers(1, 3) for seen in await asyncio.gather(*reading))
    assert place.scheduler.most_watchers == 1


async def test_a_slow_reader_is_told_of_what_is_no_longer_kept(place: Place) -> None:
    """When the scheduler has let go of what a slow reader missed, it gets one gap with the present picture, then the rest."""
    await place.task()
    with place.watches.reading("t1", 0, 1) as slow:
        fast = asyncio.create_task(place.read())
        await place.scheduler.wait_watchers(1)
        await place.log("t1", 999)
        place.scheduler.trimmed["t1"] = 700
        await place.end()
        assert await fast == numbers(1, 1001)
        assert await drained(slow) == ["1-700", *numbers(701, 1001)]


async def test_late_readers_join_behind_any_place(place: Place) -> None:
    """While a task runs, readers come with every position; each gets exactly what follows its own."""
    await place.task()
    first = asyncio.create_task(place.read())
    await place.scheduler.wait_watchers(1)
    reading = []
    for after in range(0, 600, 7):
        while place.last() < after:
            await place.log("t1", 3)
        reading += [(at, asyncio.create_task(place.read(after=at))) for at in {after, after // 2}]
    await place.end()
    last = place.last()
    for after, one in reading:
        assert await one == numbers(after + 1, last)
    assert await first == numbers(1, last)
    assert place.scheduler.most_watchers <= 1 + shared_watch.CATCH_UPS


async def test_those_who_catch_up_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that comes back from the very beginning opens no more than so many calls, and all are served."""
    monkeypatch.setattr(place.watches, "_catch_ups", asyncio.Semaphore(3))
    await place.task()
    await place.log("t1", 600)
    reading = [asyncio.create_task(place.read()) for _ in range(40)]
    with place.watches.reading("t1", 601, 601) as live:
        assert await drained(live, until=601) == []
        await place.end()
        assert await drained(live) == ["602"]
    assert all(seen == numbers(1, 602) for seen in await asyncio.gather(*reading))
    assert place.scheduler.most_watchers <= 1 + 3


async def test_a_place_that_never_was_is_told_once(place: Place) -> None:
    """A position of another task, or from before the store was rewound: one gap, then all that happens from now on."""
    await place.task()
    lost = asyncio.create_task(place.read(after=500))
    await place.scheduler.wait_watchers(1)
    await place.log("t1", 5)
    await place.end()
    seen = await lost
    assert seen[0] == "0-0" and seen.count("0-0") == 1
    assert seen[1:] == numbers(8 - len(seen[1:]), 7), "the gap's picture may be newer than the first event"


async def test_a_rewound_store_is_told_to_those_who_were_ahead(place: Place) -> None:
    """Redis went back: whoever had seen more is told and goes on; whoever had not just goes on."""
    await place.task()
    await place.log("t1", 9)
    with place.watches.reading("t1", 0, 10) as ahead, place.watches.reading("t1", 0, 10) as behind:
        assert await drained(ahead, until=10) == numbers(1, 10)
        assert await drained(behind, until=4) == numbers(1, 4)
        rewound = place.scheduler.tasks["t1"]
        rewound.last_sequence = 4
        place.scheduler.events["t1"] = place.scheduler.events["t1"][:4]
        await place.scheduler.break_watchers()
        told = await asyncio.wait_for(ahead.next(), 10)
        assert told is not None and told.event.gap.snapshot.last_sequence == 4
        await place.log("t1", 2)
        await place.end()
        assert await drained(ahead) == numbers(5, 7)
        assert (await drained(behind))[-3:] == numbers(5, 7)


async def test_a_broken_call_is_made_again_for_all(place: Place) -> None:
    """A scheduler that goes away and comes back costs its readers nothing, however many they are."""
    await place.task()
    reading = [asyncio.create_task(place.read()) for _ in range(50)]
    await place.scheduler.wait_watchers(1)
    for _ in range(3):
        await place.log("t1", 5)
        await place.scheduler.break_watchers()
        await place.scheduler.wait_watchers(0)
        await place.scheduler.wait_watchers(1)
    await place.end()
    assert all(seen == numbers(1, 17) for seen in await asyncio.gather(*reading))


async def test_a_silent_scheduler_is_called_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose connection lives while it says nothing at all is left, and nothing is told twice."""
    monkeypatch.setattr("gateway.clients.task_watch._SILENCE_SECONDS", 0.05)
    await place.task()
    reading = asyncio.create_task(place.read())
    async with asyncio.timeout(10):
        while sum(isinstance(request, pb.WatchTaskRequest) for request in place.scheduler.requests) < 3:
            await asyncio.sleep(0.01)
    await place.log("t1", 3)
    await place.end()
    assert await reading == numbers(1, 5)


async def test_an_error_reaches_every_reader(place: Place) -> None:
    """A deleted task ends each stream of it."""
    await place.task()
    reading = [asyncio.create_task(place.read()) for _ in range(5)]
    await place.scheduler.wait_watchers(1)
    place.scheduler.fail = TaskNotFound("it was deleted")
    await place.scheduler.break_watchers()
    for one in reading:
        with pytest.raises(TaskNotFound):
            await one


async def test_a_bug_ends_the_streams_it_meets(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is told to the readers, who come back, instead of leaving them waiting."""
    await place.task()
    reading = [asyncio.create_task(place.read()) for _ in range(3)]
    await place.scheduler.wait_watchers(1)

    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(EventRing, "append", broken)
    await place.log("t1", 1)
    for one in reading:
        with pytest.raises(Internal):
            await one


async def test_a_cancelled_wait_loses_nothing(place: Place) -> None:
    """Giving up a `next()` at any moment and asking again gives the same event: pings come between, events do not go."""
    await place.task()
    await place.log("t1", 700)
    ending = asyncio.create_task(place.end())
    seen: list[str] = []
    with place.watches.reading("t1", 0, 701) as reader:
        async with asyncio.timeout(20):
            while not reader.over:
                waiting = asyncio.create_task(reader.next())
                await asyncio.sleep(0)
                if not waiting.done():
                    waiting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await waiting
                    await asyncio.sleep(0.001)
                    continue
                told = waiting.result()
                seen += [str(told.event.sequence)] if told is not None and told.event.sequence else []
    await ending
    assert seen == numbers(1, 702)


async def test_a_drain_reaches_every_reader(place: Place) -> None:
    """Readers that wait are told at once that this process goes away."""
    await place.task()
    reading = [asyncio.create_task(place.read()) for _ in range(5)]
    await place.scheduler.wait_watchers(1)
    place.watches.close()
    for one in reading:
        with pytest.raises(StreamsClosing):
            await one


async def test_a_scheduler_that_stays_away_is_told_to_those_who_catch_up_too() -> None:
    """Nobody waits for ever: the retries end for a reader that is behind as for one that is live."""

    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    section = GatewaySection(scheduler_address="127.0.0.1:1", filestore_address="127.0.0.1:1")
    async with open_backend(GatewaySettings(runtime=RUNTIME, gateway=section)) as backend:
        watches = SharedWatches(backend, pause=at_once)
        with watches.reading("t1", 0, 900) as reader, pytest.raises(Unavailable):
            await asyncio.wait_for(reader.next(), 30)
        await watches.aclose()
