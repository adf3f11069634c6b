"""Laws of ownership over real gRPC: fences between attempts, and orphans that nobody watches."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from nodekit.testkit import to_request
from runtime.errors import (
    InvalidArgument,
    StaleFence,
)
from runtime.rpc_errors import rpc_errors
from runtime.structs import from_struct
from tests.nodekit.conftest import NodeFactory, eventually
from tests.nodekit.test_attempts import journal, read


async def test_newer_attempt_waits_until_the_older_is_gone(start_node: NodeFactory, tmp_path: Path) -> None:
    """A newer attempt ends the older one first; the two never overlap, and the older one's watcher is told ABORTED."""
    node = await start_node(slots=1)
    fields = {"task_id": "t1"}
    task_input = {"folder": str(tmp_path)}
    older = asyncio.create_task(node.run("toy.gate", task_input, attempt=1, fence=10, **fields))
    await eventually(lambda: journal(tmp_path) == ["start 1"])
    newer = asyncio.create_task(node.run("toy.gate", task_input, attempt=2, fence=11, **fields))
    with pytest.raises(StaleFence):
        await older
    await eventually(lambda: journal(tmp_path) == ["start 1", "end 1", "start 2"])
    with pytest.raises(StaleFence):
        await node.run("toy.gate", task_input, attempt=1, fence=10, **fields)
    (tmp_path / "open").touch()
    assert (await newer).outcome == "completed"


async def test_fence_outranks_the_attempt_number(start_node: NodeFactory) -> None:
    """Attempt numbers begin anew when a dead letter is replayed: the greater fence is the newer attempt all the same."""
    node = await start_node()
    first = await node.run("toy.echo", {"text": "a"}, task_id="t1", attempt=3, fence=10)
    second = await node.run("toy.echo", {"text": "a"}, task_id="t1", attempt=1, fence=20)
    assert (first.events[0].attempt, second.events[0].attempt) == (3, 1)
    with pytest.raises(StaleFence):
        await node.run("toy.echo", {"text": "a"}, task_id="t1", attempt=4, fence=15)


async def test_a_start_that_was_held_up_for_too_long_is_refused(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    """Its attempt may be given up, and another at work elsewhere; an attempt that is here is attached to at any time."""
    node = await start_node()
    request = to_request("toy.gate", {"folder": str(tmp_path)}, task_id="t1", attempt=1, fence=5)
    request.latest_start_time.FromMilliseconds(int(time.time() * 1000) - 100)
    with pytest.raises(StaleFence) as refused:
        async with rpc_errors():
            await node.stub.RunTask(request).read()
    assert "too late" in refused.value.message
    request.latest_start_time.nanos = -1
    with pytest.raises(InvalidArgument) as misfit:
        async with rpc_errors():
            await node.stub.RunTask(request).read()
    assert misfit.value.fields[0].pointer == "/latest_start_time"
    request.latest_start_time.nanos = 0
    assert not (tmp_path / "journal").exists()
    request.latest_start_time.FromMilliseconds(int(time.time() * 1000) + 60_000)
    first = node.stub.RunTask(request)
    assert (await first.read()).HasField("started")
    request.latest_start_time.FromMilliseconds(1)
    assert (await node.stub.RunTask(request).read()).HasField("started")
    (tmp_path / "open").touch()
    assert (await first.read()).HasField("completed")


async def test_unfenced_client_cannot_push_a_fenced_attempt_aside(start_node: NodeFactory) -> None:
    """Who has no fence may watch a scheduler's attempt, not replace it."""
    node = await start_node()
    await node.run("toy.echo", {"text": "a"}, task_id="t1", attempt=1, fence=10)
    with pytest.raises(StaleFence):
        await node.run("toy.echo", {"text": "a"}, task_id="t1", attempt=2)
    assert (await node.run("toy.echo", {"text": "a"}, task_id="t1", attempt=1)).outcome == "completed"


async def test_orphan_is_ended_and_handed_back(start_node: NodeFactory, tmp_path: Path) -> None:
    """Work that nobody watches is ended after the grace and given back with its checkpoint."""
    node = await start_node(orphan_seconds=0.2)
    request = to_request(
        "toy.gate", {"folder": str(tmp_path), "checkpoint": {"at": 7}}, task_id="t1", attempt=1
    )
    await read(node, request, count=2)
    await eventually(lambda: journal(tmp_path) == ["start 1", "end 1"])
    request.attach_only = True
    events = await read(node, request)
    assert from_struct(events[-1].handed_back.checkpoint) == {"at": 7}


async def test_watched_attempt_is_no_orphan(start_node: NodeFactory, tmp_path: Path) -> None:
    """One watcher is enough, whichever, and an attach within the grace keeps the work alive."""
    node = await start_node(orphan_seconds=0.3)
    request = to_request("toy.gate", {"folder": str(tmp_path)}, task_id="t1", attempt=1)
    await read(node, request, count=1)
    watcher = asyncio.create_task(read(node, request))
    await asyncio.sleep(0.6)
    assert journal(tmp_path) == ["start 1"]
    (tmp_path / "open").touch()
    assert (await watcher)[-1].HasField("completed")


async def test_chain_of_attempts_never_overlaps(start_node: NodeFactory, tmp_path: Path) -> None:
    """Three attempts that arrive at once: only one works at any time, and the last one wins."""
    node = await start_node(slots=1)
    task_input = {"folder": str(tmp_path)}
    runs = []
    for number in (1, 2, 3):
        run = node.run("toy.gate", task_input, task_id="t1", attempt=number, fence=number)
        runs.append(asyncio.create_task(run))
        if number == 1:
            await eventually(lambda: journal(tmp_path) == ["start 1"])
    await eventually(lambda: journal(tmp_path)[-1:] == ["start 3"])
    (tmp_path / "open").touch()
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(result) for result in results[:2]] == [StaleFence, StaleFence]
    assert not isinstance(results[2], BaseException)
    assert results[2].outcome == "completed"
    entries = journal(tmp_path)
    assert all(entries[i].startswith("start") == (i % 2 == 0) for i in range(len(entries)))


async def test_a_late_attempt_cannot_touch_its_successors_outputs(
    start_node: NodeFactory, tmp_path: Path
) -> None:
    """Each attempt stores under a prefix of its own: the older one, cut off and cleared up late, takes nothing along."""
    cut_off = await start_node(work_root=tmp_path / "work-1")
    elsewhere = await start_node(work_root=tmp_path / "work-2")
    waiting = asyncio.create_task(
        cut_off.run("toy.store", {"folder": str(tmp_path), "then": "wait"}, task_id="t1", attempt=1, fence=1)
    )
    await eventually((tmp_path / "stored").exists)
    newer = await elsewhere.run("toy.store", {"folder": str(tmp_path)}, task_id="t1", attempt=2, fence=2)
    assert newer.output["frames_dir"] == "t1/attempt-2/frames/"
    await cut_off.cancel("t1", attempt=1)
    assert (await waiting).outcome == "cancelled"
    stored = sorted(
        path.relative_to(tmp_path / "outputs") for path in (tmp_path / "outputs" / "t1").rglob("*.*")
    )
    assert {path.parts[1] for path in stored} == {"attempt-2"}
    assert len(stored) == len(newer.files)
