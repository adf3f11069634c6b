"""Laws of stopping: whatever a task has started is gone before its end is told, measured by looking at real processes."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import pytest

from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.errors import InvalidArgument, TaskNotFound, WrongState
from tests.nodekit import toy
from tests.nodekit.conftest import LOOPS, NodeFactory, eventually, is_alive, processes_with
from yivideo.task.v1 import task_pb2


@pytest.fixture(params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return LOOPS[request.param]()


TREES = {
    "plain": "sh -c 'sleep 61{n}; :' & sleep 61{n}",
    "ignores_term": "trap '' TERM; sh -c 'trap \"\" TERM; sleep 61{n}; sleep 61{n}' & while :; do sleep 61{n}; done",
    "own_session": "setsid sh -c 'sleep 61{n}; :' & sleep 61{n}",
    "double_fork": "(setsid setsid sh -c 'trap \"\" TERM HUP; sleep 61{n}; sleep 61{n}' &) ; exec sleep 61{n}",
    "ffmpeg_in_a_shell": "ffmpeg -v quiet -nostdin -re -f lavfi -i testsrc=s=32x32:r=5 -metadata title=61{n} -f null - & wait",
    "clears_environment": "env -i /bin/sh -c 'sleep 61{n}; :' & sleep 61{n}",
}


async def started(node: NodeUnderTest, script: str, word: str, count: int) -> asyncio.Task[TaskResult]:
    task = asyncio.create_task(node.run("toy.shell", {"script": script}, task_id="t1"))
    await eventually(lambda: len(processes_with(word)) >= count)
    return task


@pytest.mark.parametrize("tree", TREES)
async def test_cancel_ends_the_whole_tree(start_node: NodeFactory, tree: str) -> None:
    """When `cancelled` is told, no process of the tree is left: not one that ignores SIGTERM, not one in a session of its own."""
    node = await start_node(kill_grace_seconds=0.3)
    number = uuid.uuid4().int % 10**8
    word = f"61{number}"
    task = await started(node, TREES[tree].replace("{n}", str(number)), word, 2)
    answer = await node.cancel("t1", reason="enough")
    assert answer.state == task_pb2.TASK_STATE_CANCELLING
    result = await task
    assert processes_with(word) == []
    assert result.outcome == "cancelled"
    assert result.events[-1].cancelled.reason == "enough"
    assert [event.WhichOneof("event") for event in result.events][-2:] == ["cancelling", "cancelled"]


async def test_grace_of_the_request_counts(start_node: NodeFactory, tmp_path: Path) -> None:
    """A program gets the grace that the request gives it to clean up, and is killed after it."""
    node = await start_node(kill_grace_seconds=30)
    number = uuid.uuid4().int % 10**8
    loop = f"touch {tmp_path}/ready; while :; do sleep 0.02; : 62{number}; done"
    cleans = f"trap 'echo bye > {tmp_path}/bye; exit' TERM; {loop}"
    task = await started(node, cleans, f"62{number}", 1)
    await eventually(lambda: (tmp_path / "ready").exists())
    await node.cancel("t1", grace_seconds=5)
    await task
    assert (tmp_path / "bye").read_text() == "bye\n"
    (tmp_path / "ready").unlink()
    task = asyncio.create_task(node.run("toy.shell", {"script": f"trap '' TERM; {loop}"}, task_id="t2"))
    await eventually(lambda: (tmp_path / "ready").exists())
    before = time.monotonic()
    await node.cancel("t2", grace_seconds=0.3)
    await task
    assert 0.3 <= time.monotonic() - before < 5
    with pytest.raises(InvalidArgument):
        await node.cancel("t2", grace_seconds=61)


@pytest.mark.parametrize("how", ["hash", "holds_the_interpreter"])
async def test_worker_in_native_code_is_killed(start_node: NodeFactory, tmp_path: Path, how: str) -> None:
    """A worker that does not come back from native code is ended by a cancel all the same."""
    node = await start_node(kill_grace_seconds=0.3)
    task = asyncio.create_task(node.run("toy.stuck", {"folder": str(tmp_path), "how": how}, task_id="t1"))
    await eventually(
        lambda: (tmp_path / "worker.pid").exists() and (tmp_path / "worker.pid").read_text() != ""
    )
    pid = int((tmp_path / "worker.pid").read_text())
    assert is_alive(pid)
    await node.cancel("t1")
    assert (await task).outcome == "cancelled"
    assert not is_alive(pid)


async def test_deadline_ends_the_task(start_node: NodeFactory) -> None:
    """A task past its timeout is ended with its tree and fails with DEADLINE_EXCEEDED, which may be retried."""
    node = await start_node()
    number = uuid.uuid4().int % 10**8
    result = await node.run("toy.shell", {"script": f"sleep 64{number}"}, timeout_seconds=1)
    assert (result.outcome, result.error.code, result.error.retryable) == (
        "failed",
        "DEADLINE_EXCEEDED",
        True,
    )
    assert processes_with(f"64{number}") == []


async def test_stubborn_function_is_cancelled_again(start_node: NodeFactory) -> None:
    """A task function that swallows its cancellation is cancelled until it ends."""
    node = await start_node()
    task = asyncio.create_task(node.run("toy.fail", {"how": "stubborn"}, task_id="t1"))
    await eventually_running(node, "t1")
    await node.cancel("t1")
    assert (await task).outcome == "cancelled"


async def eventually_running(node: NodeUnderTest, task_id: str) -> None:
    while True:
        try:
            await node.stub.GetTask(task_pb2.GetTaskRequest(task_id=task_id))
        except Exception:
            await asyncio.sleep(0.01)
        else:
            return


async def test_cancelling_twice_or_after_the_end_is_refused(start_node: NodeFactory) -> None:
    """A cancel is refused with WRONG_STATE when one is under way or the task has ended, and NOT_FOUND when it is unknown."""
    node = await start_node(kill_grace_seconds=1)
    number = uuid.uuid4().int % 10**8
    task = await started(node, f"trap '' TERM; while :; do sleep 0.02; : 65{number}; done", f"65{number}", 1)
    await node.cancel("t1", grace_seconds=0.5)
    with pytest.raises(WrongState):
        await node.cancel("t1")
    await task
    with pytest.raises(WrongState):
        await node.cancel("t1")
    with pytest.raises(TaskNotFound):
        await node.cancel("t2")


async def test_cancel_of_another_attempt_is_refused(start_node: NodeFactory, tmp_path: Path) -> None:
    """A cancel that names an attempt does not hit another one."""
    node = await start_node()
    task = asyncio.create_task(node.run("toy.gate", {"folder": str(tmp_path)}, task_id="t1", attempt=2))
    await eventually(lambda: (tmp_path / "journal").exists())
    with pytest.raises(TaskNotFound):
        await node.cancel("t1", attempt=1)
    await node.cancel("t1", attempt=2)
    assert (await task).outcome == "cancelled"


async def test_ended_program_leaves_nothing_running(start_node: NodeFactory) -> None:
    """What a program leaves in the background is ended when the program ends; its open pipes hold nobody up."""
    node = await start_node()
    number = uuid.uuid4().int % 10**8
    script = f"sleep 66{number} & setsid sleep 66{number} & echo done; exit 3"
    result = await node.run("toy.shell", {"script": script}, wait_seconds=10)
    assert (result.output["returncode"], result.output["lines"]) == (3, ["done"])
    assert processes_with(f"66{number}") == []


@pytest.mark.parametrize(("drains", "outcome"), [(False, "failed"), (True, "handed_back")])
async def test_a_store_that_goes_away_with_the_node_fails_no_task(
    tmp_path: Path, drains: bool, outcome: str
) -> None:
    """Where all of an installation ends at once the store may be gone before the work is: a node that drains hands that back."""
    async with NodeUnderTest(toy.node, tmp_path, drain_seconds=20) as node:
        work = asyncio.create_task(
            node.run("toy.gate", {"folder": str(tmp_path), "store_gone": True}, task_id="w")
        )
        await eventually(lambda: (tmp_path / "journal").exists())
        stopping = []
        if drains:
            status = node.stub.WatchNode(task_pb2.WatchNodeRequest())
            seen = await status.read()
            stopping = [asyncio.create_task(node.stop())]
            while isinstance(seen, task_pb2.NodeStatus) and not seen.draining:
                seen = await status.read()
        (tmp_path / "open").touch()
        assert (await work).outcome == outcome
        await asyncio.gather(*stopping)


async def test_drain_finishes_what_it_can_and_hands_back_the_rest(tmp_path: Path) -> None:
    """At a drain a short task completes, a long one is ended and handed back with its checkpoint, and nothing new is taken."""
    (tmp_path / "long").mkdir()
    async with NodeUnderTest(toy.node, tmp_path, drain_seconds=0.8) as node:
        long_input = {"folder": str(tmp_path / "long"), "checkpoint": {"at": 3}}
        status = node.stub.WatchNode(task_pb2.WatchNodeRequest())

        async def condition() -> task_pb2.NodeStatus:
            read = await status.read()
            assert isinstance(read, task_pb2.NodeStatus)
            return read

        assert not (await condition()).draining
        long = asyncio.create_task(node.run("toy.gate", long_input, task_id="long"))
        short = asyncio.create_task(node.run("toy.shell", {"script": "sleep 0.4"}, task_id="short"))
        await eventually(lambda: (tmp_path / "long" / "journal").exists())
        await eventually_running(node, "short")
        stopping = asyncio.create_task(node.stop())
        while not (seen := await condition()).draining:
            pass
        assert seen.free_slots == 0
        assert (await short).outcome == "completed"
        handed_back = await long
        await stopping
    assert handed_back.outcome == "handed_back"
    assert handed_back.events[-1].handed_back.checkpoint.fields["at"].number_value == 3
