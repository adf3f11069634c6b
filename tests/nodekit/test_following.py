"""FollowAttempts: many attempts over one stream keep the laws that each keeps over its own RunTask."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.rpc import status_pb2

from nodekit.testkit import NodeUnderTest, to_request
from runtime.errors import (
    InvalidArgument,
    NoFreeSlot,
    StaleFence,
    TaskNotFound,
    UnknownTaskType,
    YiVideoError,
)
from runtime.rpc_errors import from_status, rpc_errors
from tests.nodekit.conftest import NodeFactory, eventually
from yivideo.task.v1 import task_pb2


class Follower:
    """A client of one stream, and all that it heard, by watch."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.events: dict[int, list[task_pb2.TaskEvent]] = defaultdict(list)
        self.ends: dict[int, YiVideoError | None] = {}
        self.beats = 0
        self.messages = 0

    async def follow(self, *asked: tuple[int, task_pb2.RunTaskRequest]) -> None:
        follow = [task_pb2.FollowedAttempt(watch=watch, request=request) for watch, request in asked]
        await self._call.write(task_pb2.FollowAttemptsRequest(follow=follow))

    async def leave(self, *watches: int) -> None:
        await self._call.write(task_pb2.FollowAttemptsRequest(leave=watches))

    async def receive(self) -> None:
        async with rpc_errors():
            async for response in self._call:
                self.messages += 1
                for told in response.events:
                    assert told.watch not in self.ends
                    self.events[told.watch].append(told.event)
                for end in response.ends:
                    status = status_pb2.Status.FromString(end.status)
                    assert end.watch not in self.ends
                    self.ends[end.watch] = from_status(status) if end.status else None
                self.beats += not response.events and not response.ends

    async def ended(self, *watches: int) -> None:
        await eventually(lambda: set(watches) <= self.ends.keys())


@asynccontextmanager
async def following(node: NodeUnderTest) -> AsyncIterator[Follower]:
    """Open a stream for the time of a block; leaving it breaks the stream."""
    call = node.stub.FollowAttempts()
    follower = Follower(call)
    hearing = asyncio.create_task(follower.receive())
    try:
        yield follower
    finally:
        call.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


def echo(task_id: str, **fields: Any) -> task_pb2.RunTaskRequest:
    return to_request("toy.echo", {"text": task_id}, task_id=task_id, **{"attempt": 1, **fields})


def gate(task_id: str, folder: Path, progress: int = 0, **fields: Any) -> task_pb2.RunTaskRequest:
    task_input = {"folder": str(folder), "progress": progress}
    return to_request("toy.gate", task_input, task_id=task_id, **{"attempt": 1, **fields})


async def test_each_watch_gets_its_own_events_in_order(start_node: NodeFactory, tmp_path: Path) -> None:
    """Attempts that run side by side, a refused one among them, do not mix; events without gap, then one end each."""
    node = await start_node()
    async with following(node) as follower:
        asked = [(watch, gate(f"t{watch}", tmp_path, progress=40)) for watch in range(1, 6)]
        await follower.follow(*asked)
        await follower.ended(5)
        assert isinstance(follower.ends[5], NoFreeSlot)
        (tmp_path / "open").touch()
        await follower.ended(1, 2, 3, 4)
    for watch in range(1, 5):
        assert follower.ends[watch] is None
        events = follower.events[watch]
        assert {event.task_id for event in events} == {f"t{watch}"}
        assert [event.sequence for event in events] == list(range(1, 43))
        assert events[-1].HasField("completed")
    assert 5 not in follower.events


async def test_a_bad_request_ends_its_own_watch_alone(start_node: NodeFactory) -> None:
    """What would be a RunTask's status comes in the end of the watch; the stream and the others go on."""
    node = await start_node()
    async with following(node) as follower:
        await follower.follow((1, to_request("toy.nothing_like_it", {}, task_id="t1", attempt=1)))
        await follower.follow((2, echo("t2", attach_only=True)), (3, echo("t3")))
        await follower.ended(1, 2, 3)
        assert isinstance(follower.ends[1], UnknownTaskType)
        assert isinstance(follower.ends[2], TaskNotFound)
        assert follower.events[3][-1].completed.output["text"] == "t3"


async def test_a_watch_resumes_after_its_sequence(start_node: NodeFactory, tmp_path: Path) -> None:
    """Attaching again, on the same stream or on another, goes on after the sequence that is named; an ended one ends at once."""
    node = await start_node()
    async with following(node) as follower:
        await follower.follow((1, gate("t1", tmp_path, progress=10)))
        await eventually(lambda: len(follower.events[1]) == 11)
        await follower.leave(1)
        await follower.follow((2, gate("t1", tmp_path, progress=10, attach_only=True, after_sequence=5)))
        await eventually(lambda: len(follower.events[2]) == 6)
        assert [event.sequence for event in follower.events[2]] == list(range(6, 12))
    async with following(node) as follower:
        (tmp_path / "open").touch()
        await follower.follow((1, gate("t1", tmp_path, progress=10, attach_only=True, after_sequence=11)))
        await follower.ended(1)
        assert [event.sequence for event in follower.events[1]] == [12]
        await follower.follow((2, gate("t1", tmp_path, progress=10, attach_only=True, after_sequence=12)))
        await follower.ended(2)
        assert follower.events[2] == [] and follower.ends[2] is None


@pytest.mark.parametrize("way", ["leave", "break"])
async def test_an_attempt_that_nobody_follows_is_an_orphan(
    start_node: NodeFactory, tmp_path: Path, way: str
) -> None:
    """A watch that is let go of, and a stream that breaks, count as watchers that went: the attempt ends as an orphan."""
    node = await start_node(orphan_seconds=0.2)
    async with following(node) as follower:
        await follower.follow((1, gate("t1", tmp_path)))
        await eventually(lambda: bool(follower.events[1]))
        if way == "leave":
            await follower.leave(1)
            await eventually(lambda: ended(tmp_path))
    await eventually(lambda: ended(tmp_path))


def ended(folder: Path) -> bool:
    return "end 1" in (folder / "journal").read_text()


async def test_a_newer_attempt_ends_the_older_ones_watch(start_node: NodeFactory, tmp_path: Path) -> None:
    """The watcher of an attempt that is superseded hears StaleFence."""
    node = await start_node()
    async with following(node) as follower:
        await follower.follow((1, gate("t1", tmp_path, fence=1)))
        await eventually(lambda: bool(follower.events[1]))
        await follower.follow((2, gate("t1", tmp_path, attempt=2, fence=2)))
        await follower.ended(1)
        (tmp_path / "open").touch()
        await follower.ended(2)
        assert isinstance(follower.ends[1], StaleFence)
        assert follower.events[2][-1].HasField("completed")


async def test_heartbeats_come_while_it_is_quiet(start_node: NodeFactory, tmp_path: Path) -> None:
    """An empty message at every beat, with attempts or without."""
    node = await start_node(heartbeat_seconds=0.05)
    async with following(node) as follower:
        await eventually(lambda: follower.beats >= 2)
        await follower.follow((1, gate("t1", tmp_path)))
        beats = follower.beats
        await eventually(lambda: follower.beats >= beats + 2)
        (tmp_path / "open").touch()
        await follower.ended(1)


async def test_a_number_that_was_used_is_refused(start_node: NodeFactory) -> None:
    """Watch numbers grow: a repeated one ends the stream with INVALID_ARGUMENT, and what ran goes on."""
    node = await start_node()
    call = node.stub.FollowAttempts()
    follower = Follower(call)
    await follower.follow((1, echo("t1")), (1, echo("t2")))
    with pytest.raises(InvalidArgument):
        await follower.receive()


async def test_a_drain_tells_the_ends_and_closes_the_stream(start_node: NodeFactory, tmp_path: Path) -> None:
    """A node that shuts down hands back what runs, says so on the stream, and ends it."""
    node = await start_node()
    call = node.stub.FollowAttempts()
    follower = Follower(call)
    hearing = asyncio.create_task(follower.receive())
    await follower.follow((1, gate("t1", tmp_path)))
    await eventually(lambda: bool(follower.events[1]))
    await node.stop()
    await asyncio.wait([hearing], timeout=5)
    assert hearing.done()
    hearing.exception()
    assert follower.events[1][-1].HasField("handed_back")
