"""Ends that nobody has read outlive their process, in the work folder, and are told by the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nodekit.attempt.kept_ends import KeptEnd, KeptEnds
from nodekit.attempt.past_attempt import PastAssignment
from nodekit.testkit import NodeUnderTest, to_request
from runtime.errors import StaleFence, TaskNotFound, WrongState
from runtime.structs import from_struct
from tests.nodekit import toy
from yivideo.task.v1 import task_pb2

PENDING = task_pb2.TASK_STATE_PENDING


def kept(task_id: str = "t1", fence: int = 7, **end: Any) -> KeptEnd:
    """An attempt that has said two things, its end last."""
    spec = task_pb2.TaskSpec(task_id=task_id, task_name="toy.echo")
    last = task_pb2.TaskEvent(
        task_id=task_id, sequence=5, **(end or {"handed_back": task_pb2.TaskHandedBack()})
    )
    return KeptEnd(PastAssignment(spec, 1, fence), [task_pb2.TaskEvent(sequence=1), last])


async def events_of(node: NodeUnderTest, request: task_pb2.RunTaskRequest) -> list[task_pb2.TaskEvent]:
    return [event async for event in node.events(request)]


@pytest.mark.slow
@pytest.mark.trial("10.1")
@pytest.mark.parametrize("heard", ["nobody", "somebody"])
async def test_what_was_handed_back_is_told_by_the_next_process(tmp_path: Path, heard: str) -> None:
    """The attempt is listed as ended, attached to under its own fence, and not run again; its checkpoint is there.

    Also when somebody seems to have read it: a scheduler that was told to stop may not have got to storing it.
    """
    task = {"folder": str(tmp_path), "checkpoint": {"step": 3}}
    request = to_request("toy.gate", task, task_id="t1", attempt=1)
    request.fence = 7
    async with NodeUnderTest(toy.node, tmp_path, orphan_seconds=0.02) as node:
        events = node.events(request)
        while not (await anext(events)).HasField("checkpoint"):
            pass
        if heard == "nobody":  # the scheduler is gone; the node sees an orphan, and is told to stop
            await events.aclose()  # type: ignore[attr-defined]
            while (await node.stub.GetTask(task_pb2.GetTaskRequest(task_id="t1"))).state != PENDING:
                await asyncio.sleep(0.01)
        else:
            stopping = asyncio.create_task(node.stop())
            assert [event async for event in events][-1].HasField("handed_back")
            await stopping
    async with NodeUnderTest(toy.node, tmp_path) as node:
        status = await node.stub.WatchNode(task_pb2.WatchNodeRequest()).read()
        assert isinstance(status, task_pb2.NodeStatus)
        assert [(one.task_id, one.attempt, one.fence, one.ended) for one in status.attempts] == [
            ("t1", 1, 7, True)
        ]
        assert status.free_slots == status.slots
        request.attach_only = True
        told = [event async for event in node.events(request)]
        assert from_struct(told[-1].handed_back.checkpoint) == {"step": 3}
        assert [event.sequence for event in told] == list(range(1, len(told) + 1))
        assert (await node.stub.GetTask(task_pb2.GetTaskRequest(task_id="t1"))).state == PENDING
        with pytest.raises(WrongState):
            await node.cancel("t1")
    assert (tmp_path / "journal").read_text().count("start") == 1


async def test_a_newer_attempt_takes_the_place_of_a_kept_end(tmp_path: Path) -> None:
    """Numbers begin again after a hand-back; the fence tells the attempts apart, and an older one than the kept end is stale."""
    KeptEnds(tmp_path / "work" / "ends").write([kept()])
    async with NodeUnderTest(toy.node, tmp_path) as node:
        request = to_request("toy.echo", {"text": "a"}, task_id="t1", attempt=1)
        request.fence = 6
        with pytest.raises(StaleFence):
            await events_of(node, request)
        request.fence = 8
        request.attach_only = True
        with pytest.raises(TaskNotFound):
            await events_of(node, request)
        request.attach_only = False
        assert (await events_of(node, request))[-1].HasField("completed")


def test_the_newest_end_of_a_task_counts_and_what_cannot_be_read_goes(tmp_path: Path) -> None:
    """Half a file, or one of another kind, is removed and harms nobody; a whole one comes back as it was written."""
    ends = KeptEnds(tmp_path / "ends")
    assert ends.read() == []
    newer = kept(fence=9)
    ends.write([kept(fence=8), newer, kept("other", 3)])
    (tmp_path / "ends" / "broken").write_bytes(newer.to_bytes()[:9])
    (tmp_path / "ends" / "empty").touch()
    (tmp_path / "ends" / ".half").write_bytes(b"x")
    found = {end.assignment.spec.task_id: end for end in ends.read()}
    assert {name: end.assignment.fence for name, end in found.items()} == {"t1": 9, "other": 3}
    assert found["t1"].to_bytes() == newer.to_bytes()
    assert len(list((tmp_path / "ends").iterdir())) == 3


def test_a_disk_that_takes_nothing_is_no_reason_to_fail(tmp_path: Path) -> None:
    """A drain goes on when the folder cannot be written: the work is repeated, as after a kill."""
    ends = KeptEnds(tmp_path / "ends")
    (tmp_path / "ends" / "7-1-t1" / "in the way").mkdir(parents=True)
    ends.write([kept(), kept("other", 3)])
    assert (tmp_path / "ends" / "3-1-other").is_file()
    assert not list((tmp_path / "ends").glob(".*"))
