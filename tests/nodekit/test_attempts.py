"""Laws of attempts on a node, over real gRPC: attach and replay, slots, errors."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from nodekit.testkit import NodeUnderTest, to_request
from runtime.errors import (
    InvalidArgument,
    InvalidInput,
    NoFreeSlot,
    TaskConflict,
    TaskNotFound,
    UnknownTaskType,
)
from runtime.rpc_errors import rpc_errors
from runtime.structs import from_struct
from tests.nodekit.conftest import NodeFactory, eventually
from yivideo.task.v1 import task_pb2


def journal(folder: Path) -> list[str]:
    path = folder / "journal"
    return path.read_text().split("\n")[:-1] if path.exists() else []


async def read(
    node: NodeUnderTest, request: task_pb2.RunTaskRequest, count: int | None = None
) -> list[task_pb2.TaskEvent]:
    """Read a stream to its end, or break it off after so many events."""
    events = []
    call = node.stub.RunTask(request)
    async with rpc_errors():
        async for event in call:
            if event.sequence:
                events.append(event)
            if count is not None and len(events) >= count:
                call.cancel()
                break
    return events


async def test_attach_replays_without_gap_or_duplicate(start_node: NodeFactory, tmp_path: Path) -> None:
    """A broken stream goes on where it broke: the work is not started again, no event is lost or repeated."""
    node = await start_node()
    request = to_request("toy.gate", {"folder": str(tmp_path), "progress": 10}, task_id="t1", attempt=1)
    events = await read(node, request, count=4)
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    request.after_sequence = 4
    events += await read(node, request, count=5)
    (tmp_path / "open").touch()
    request.after_sequence = events[-1].sequence
    events += await read(node, request)
    assert [event.sequence for event in events] == list(range(1, 13))
    assert events[-1].HasField("completed")
    assert journal(tmp_path) == ["start 1", "end 1"]


async def test_random_disconnects_lose_and_repeat_nothing(start_node: NodeFactory, tmp_path: Path) -> None:
    """However often and wherever a stream breaks, resuming after the last sequence gives every event exactly once."""
    node = await start_node()
    choice = random.Random(7)
    request = to_request("toy.gate", {"folder": str(tmp_path), "progress": 300}, task_id="t1", attempt=1)
    (tmp_path / "open").touch()
    events: list[task_pb2.TaskEvent] = []
    while not events or not events[-1].HasField("completed"):
        request.after_sequence = events[-1].sequence if events else 0
        events += await read(node, request, count=choice.randint(1, 6))
    assert [event.sequence for event in events] == list(range(1, 303))
    assert journal(tmp_path) == ["start 1", "end 1"]


async def test_ended_attempt_answers_again(start_node: NodeFactory) -> None:
    """An attempt that has ended replays its events to a late watcher instead of running again."""
    node = await start_node()
    first = await node.run("toy.echo", {"text": "a"}, task_id="t1")
    again = await node.run("toy.echo", {"text": "a"}, task_id="t1")
    assert [e.sequence for e in again.events] == [e.sequence for e in first.events]
    assert again.events[-1].time == first.events[-1].time
    task = await node.stub.GetTask(task_pb2.GetTaskRequest(task_id="t1"))
    assert task.state == task_pb2.TASK_STATE_COMPLETED
    assert from_struct(task.output) == {"text": "a"}


async def test_ended_attempt_is_forgotten(start_node: NodeFactory) -> None:
    """An ended attempt that was read is dropped after its time."""
    node = await start_node(retain_seconds=0.05)
    await node.run("toy.echo", {"text": "a"}, task_id="t1")
    deadline = asyncio.get_running_loop().time() + 5
    while True:
        try:
            async with rpc_errors():
                await node.stub.GetTask(task_pb2.GetTaskRequest(task_id="t1"))
        except TaskNotFound:
            break
        assert asyncio.get_running_loop().time() < deadline


async def test_same_id_with_another_payload_conflicts(start_node: NodeFactory) -> None:
    """A client cannot attach to a task with another payload; the trace context is no part of it."""
    node = await start_node()
    await node.run("toy.echo", {"text": "a"}, task_id="t1")
    with pytest.raises(TaskConflict):
        await node.run("toy.echo", {"text": "b"}, task_id="t1")
    await node.run("toy.echo", {"text": "a"}, task_id="t1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")


async def test_attach_only_starts_nothing(start_node: NodeFactory, tmp_path: Path) -> None:
    """`attach_only` answers NOT_FOUND for an attempt that is not here."""
    node = await start_node()
    with pytest.raises(TaskNotFound):
        await node.run("toy.gate", {"folder": str(tmp_path)}, task_id="t1", attach_only=True)
    assert journal(tmp_path) == []


async def test_slots_are_a_limit(start_node: NodeFactory, tmp_path: Path) -> None:
    """A full node refuses with NO_FREE_SLOT and takes the next task when a slot is free; WatchNode says so."""
    node = await start_node(slots=1)
    status = node.stub.WatchNode(task_pb2.WatchNodeRequest())
    assert (await status.read()).free_slots == 1
    running = asyncio.create_task(node.run("toy.gate", {"folder": str(tmp_path)}, task_id="t1"))
    seen = await status.read()
    assert (seen.slots, seen.free_slots, seen.attempts[0].task_id) == (1, 0, "t1")
    with pytest.raises(NoFreeSlot):
        await node.run("toy.echo", {"text": "a"})
    (tmp_path / "open").touch()
    assert (await running).outcome == "completed"
    while (await status.read()).free_slots == 0:
        pass
    assert (await node.run("toy.echo", {"text": "a"})).outcome == "completed"
    status.cancel()


async def test_watch_node_repeats_itself(start_node: NodeFactory) -> None:
    """A WatchNode stream speaks at least every heartbeat, and names node, replica, engines and etag."""
    node = await start_node(heartbeat_seconds=0.05)
    call = node.stub.WatchNode(task_pb2.WatchNodeRequest())
    seen = [await call.read() for _ in range(3)]
    call.cancel()
    assert {(s.node, s.replica, tuple(s.engines)) for s in seen} == {("toy", node.replica.name, ("sh/1",))}
    assert seen[0].task_types_etag


async def test_checkpoint_reaches_the_next_attempt(start_node: NodeFactory, tmp_path: Path) -> None:
    """What one attempt saves is told as an event, and what the request carries is in the context."""
    node = await start_node()
    (tmp_path / "open").touch()
    saved = await node.run("toy.gate", {"folder": str(tmp_path), "checkpoint": {"segment": 3}})
    (event,) = [event for event in saved.events if event.HasField("checkpoint")]
    assert from_struct(event.checkpoint.data) == {"segment": 3}
    again = await node.run("toy.gate", {"folder": str(tmp_path)}, attempt=2, checkpoint={"segment": 3})
    assert again.output == {"text": "{'segment': 3}"}


async def test_bad_requests_are_refused_before_any_event(start_node: NodeFactory) -> None:
    """Unknown task, bad input and bad ids are INVALID_ARGUMENT and take no slot."""
    node = await start_node(slots=1)
    with pytest.raises(UnknownTaskType):
        await node.run("toy.nothing", {})
    with pytest.raises(InvalidInput) as refused:
        await node.run("toy.echo", {"text": 5, "times": 10, "colour": "red"})
    assert {field.pointer for field in refused.value.fields} == {
        "/input/text",
        "/input/times",
        "/input/colour",
    }
    for task_id in (".hidden", "a/b", "ü", "x" * 129):
        with pytest.raises(InvalidArgument):
            await node.run("toy.echo", {"text": "a"}, task_id=task_id)
    with pytest.raises(InvalidArgument):
        await node.run("toy.echo", {"text": "a"}, attempt=-1)
    assert (await node.run("toy.echo", {"text": "a"})).outcome == "completed"


async def test_missing_id_is_made(start_node: NodeFactory) -> None:
    """A request without an id gets one, on every event."""
    node = await start_node()
    result = await node.run("toy.echo", {"text": "a"})
    assert {event.task_id for event in result.events} == {result.events[0].task_id}
    assert result.events[0].task_id.startswith("task-")


async def test_get_task_masks_secrets(start_node: NodeFactory) -> None:
    """A task that is shown shows no secrets, while the task function gets them."""
    node = await start_node()
    await node.run("toy.echo", {"text": "a", "api_key": "sk-1"}, task_id="t1")
    task = await node.stub.GetTask(task_pb2.GetTaskRequest(task_id="t1"))
    assert from_struct(task.spec.input)["api_key"] == "***"


async def test_list_task_types(start_node: NodeFactory) -> None:
    """A node lists its own types, and none for another node's name."""
    node = await start_node()
    mine = await node.stub.ListTaskTypes(task_pb2.ListTaskTypesRequest())
    assert [task.name for task in mine.task_types] == sorted(task.name for task in mine.task_types)
    assert "toy.echo" in [task.name for task in mine.task_types]
    none = await node.stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(node="asr"))
    assert not none.task_types


async def test_slow_watcher_is_told_the_gap(start_node: NodeFactory, tmp_path: Path) -> None:
    """A watcher that comes when events are gone gets a gap with the task's picture, and the rest."""
    node = await start_node(max_events=20)
    task_input = {"folder": str(tmp_path), "progress": 100}
    watcher = asyncio.create_task(node.run("toy.gate", task_input, task_id="t1"))
    (tmp_path / "open").touch()
    assert (await watcher).outcome == "completed"
    late = await node.run("toy.gate", task_input, task_id="t1")
    gaps = [event.gap for event in late.events if event.HasField("gap")]
    assert gaps
    assert gaps[0].first_missing_sequence >= 1
    assert gaps[0].snapshot.state == task_pb2.TASK_STATE_COMPLETED
    assert late.events[-1].sequence == 102


async def test_figures(start_node: NodeFactory, tmp_path: Path) -> None:
    """The node's figures follow its attempts."""
    from prometheus_client import REGISTRY

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = value("yivideo_attempts_total", task_name="toy.echo", outcome="completed")
    node = await start_node(slots=3)
    await node.run("toy.echo", {"text": "a"})
    assert value("yivideo_attempts_total", task_name="toy.echo", outcome="completed") == before + 1
    assert value("yivideo_task_run_seconds_count", task_name="toy.echo") >= 1
    assert (value("yivideo_node_slots", node="toy"), value("yivideo_node_free_slots", node="toy")) == (3, 3)
    running = asyncio.create_task(node.run("toy.gate", {"folder": str(tmp_path)}))
    await eventually(lambda: value("yivideo_node_free_slots", node="toy") == 2)
    (tmp_path / "open").touch()
    await running
    assert value("yivideo_node_free_slots", node="toy") == 3
    assert value("yivideo_node_children") == 0
