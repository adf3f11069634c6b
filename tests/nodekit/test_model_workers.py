"""Laws of models in worker processes: items come as they are made, a stop stops, what grows is replaced, the node lives."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from nodekit import Node, TaskContext, TaskInput, TaskOutput, WarmModel
from nodekit.process.cores import thread_environment, threads_for, usable_cores
from nodekit.testkit import NodeUnderTest, TaskResult
from tests.nodekit import stream_calls as calls
from tests.nodekit.conftest import eventually, is_alive

Use = Callable[[WarmModel, TaskContext], Awaitable[Any]]


class Nothing(TaskInput):
    """Nothing to say."""


class Told(TaskOutput):
    """What the use of the model gave."""

    value: Any = None


def node_with(use: Use, slots: int = 1) -> Node:
    """Return a node whose one task uses a model on the processor."""
    node = Node("modeltoy", slots=slots)

    @node.task("modeltoy.use")
    async def run(request: Nothing, context: TaskContext) -> Told:
        """Uses the model."""
        async with context.warm("toy", calls.load, processor=True) as model:
            return Told(value=await use(model, context))

    return node


async def run(node: NodeUnderTest, task_id: str = "t1") -> TaskResult:
    return await node.run("modeltoy.use", {}, task_id=task_id)


async def test_items_come_as_they_are_made(tmp_path: Path) -> None:
    """The first item is there before the second is made, and the process is as good as new after the last."""
    seen = []

    async def use(model: WarmModel, _: TaskContext) -> list[int]:
        async for number in model.stream(calls.count, str(tmp_path), 3):
            seen.append(number)
        return [await model.run(calls.who), await model.run(calls.who)]

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        first, second = (await run(node)).output["value"]
    assert seen == [0, 1, 2] and first == second


async def test_the_model_waits_for_a_slow_reader(tmp_path: Path) -> None:
    """Unread items are bounded by a pipe's buffer: memory does not grow with what nobody has asked for."""
    made = tmp_path / "made"

    async def use(model: WarmModel, _: TaskContext) -> int:
        total = 0
        async for item in model.stream(calls.padded, str(tmp_path), 400):
            if total == 0:
                await asyncio.sleep(0.3)
                assert made.stat().st_size < 200
            total += len(item)
        return total

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        result = await run(node)
    assert result.output == {"value": 400 * 50_000}, result.error


async def test_an_error_in_a_stream_is_the_functions_own(tmp_path: Path) -> None:
    """Items before it arrive; the error is raised as it was, also when it looks like a dead process; the process goes on."""

    async def use(model: WarmModel, _: TaskContext) -> list[Any]:
        seen: list[Any] = []
        try:
            async for number in model.stream(calls.fail_after, 2):
                seen.append(number)
        except BrokenPipeError as error:
            seen.append(str(error))
        return [*seen, await model.run(calls.who) > 0]

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        assert (await run(node)).output["value"] == [0, 1, "of the function's own", True]


async def test_a_loop_left_early_ends_the_process(tmp_path: Path) -> None:
    """Nothing else stops a function in the middle: the model is loaded again by whoever needs it next."""
    pids: list[int] = []

    async def use(model: WarmModel, _: TaskContext) -> bool:
        if not pids:
            stream = model.stream(calls.forever, str(tmp_path))
            pids.append(await anext(stream))
            await stream.aclose()
        else:
            pids.append(await model.run(calls.who))
        return model.warm

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        assert (await run(node)).output["value"] is False
        await eventually(lambda: not is_alive(pids[0]))
        assert (await run(node, "t2")).output["value"] is False
    assert pids[0] != pids[1]


async def test_a_cancel_in_a_stream_ends_the_process(tmp_path: Path) -> None:
    """CANCELLED is said when the process is gone."""
    pids: list[int] = []

    async def use(model: WarmModel, _: TaskContext) -> None:
        async for pid in model.stream(calls.forever, str(tmp_path)):
            pids.append(pid)

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        running = asyncio.create_task(run(node))
        await eventually(lambda: (tmp_path / "working").exists())
        await node.cancel("t1")
        result = await running
        assert result.outcome == "cancelled"
        assert not is_alive(pids[0])


async def test_a_killed_worker_is_a_failure_that_may_be_retried(tmp_path: Path) -> None:
    """SIGKILL in the middle of a stream: WORKER_DIED, retryable, and the node runs the next task."""

    async def use(model: WarmModel, _: TaskContext) -> str:
        if not (tmp_path / "killed").exists():
            async for pid in model.stream(calls.forever, str(tmp_path)):
                (tmp_path / "killed").touch()
                os.kill(pid, signal.SIGKILL)
        return "alive"

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        result = await run(node)
        assert (result.error.code, result.error.retryable) == ("WORKER_DIED", True)
        assert (await run(node, "t2")).output["value"] == "alive"


async def test_a_stopped_worker_ends_with_its_deadline(tmp_path: Path) -> None:
    """A process that is frozen (SIGSTOP) is killed when the task's time is over."""
    pids: list[int] = []

    async def use(model: WarmModel, _: TaskContext) -> None:
        async for pid in model.stream(calls.forever, str(tmp_path)):
            pids.append(pid)
            os.kill(pid, signal.SIGSTOP)

    async with NodeUnderTest(node_with(use), tmp_path) as node:
        result = await node.run("modeltoy.use", {}, task_id="t1", timeout_seconds=1)
        assert result.error.code == "DEADLINE_EXCEEDED"
        assert not is_alive(pids[0])


async def test_a_worker_that_holds_the_interpreter_lock_starves_no_beat(tmp_path: Path) -> None:
    """Heartbeats go on while the model keeps the lock of its own interpreter for a second."""

    async def use(model: WarmModel, _: TaskContext) -> float:
        return float(await model.run(calls.hold_the_lock, 1.0))

    async with NodeUnderTest(node_with(use), tmp_path, heartbeat_seconds=0.1) as node:
        result = await run(node)
    beats = sum(event.HasField("heartbeat") for event in result.events)
    assert result.outcome == "completed" and beats >= 4


async def test_a_worker_that_has_grown_is_replaced(tmp_path: Path) -> None:
    """Between tasks, never within one: the model is loaded again in a new process."""
    pids: list[int] = []

    async def use(model: WarmModel, _: TaskContext) -> bool:
        pids.append(await model.run(calls.grow, 40))
        pids.append(await model.run(calls.who))
        return model.warm

    async with NodeUnderTest(node_with(use), tmp_path, worker_growth_mib=30) as node:
        assert (await run(node)).output["value"] is False
        assert not is_alive(pids[0])
        assert (await run(node, "t2")).output["value"] is False
    assert pids[0] == pids[1] != pids[2]


@pytest.mark.parametrize(("limit", "warm"), [(0, True), (2, False)])
async def test_a_worker_is_replaced_after_so_many_calls(tmp_path: Path, limit: int, warm: bool) -> None:
    """By count where that is set (loading counts), else never."""

    async def use(model: WarmModel, _: TaskContext) -> bool:
        await model.run(calls.who)
        return model.warm

    async with NodeUnderTest(node_with(use), tmp_path, worker_max_calls=limit) as node:
        await run(node)
        assert (await run(node, "t2")).output["value"] is warm


async def test_workers_are_told_their_share_of_the_cores(tmp_path: Path) -> None:
    """Two slots on a machine share its cores; a setting wins."""

    async def use(model: WarmModel, context: TaskContext) -> list[Any]:
        return [await model.run(calls.threads), context.threads]

    share = max(1, usable_cores() // 2)
    async with NodeUnderTest(node_with(use, slots=2), tmp_path / "a") as node:
        assert (await run(node)).output["value"] == [str(share), share]
    async with NodeUnderTest(node_with(use, slots=2), tmp_path / "b", threads=3) as node:
        assert (await run(node)).output["value"] == ["3", 3]


async def test_on_the_processor_no_device_is_asked_for_or_seen(tmp_path: Path) -> None:
    """`processor=True` waits for nobody's GPU, on a node that has one that is taken, and sees none."""

    async def use(model: WarmModel, _: TaskContext) -> str:
        return str(await model.run(calls.devices))

    async with NodeUnderTest(node_with(use), tmp_path, gpu_mib=(8000,)) as node, node.gpu_taken():
        assert (await run(node)).output["value"] == ""


@pytest.mark.parametrize(("text", "cores"), [("100000 100000\n", 1), ("max 100000\n", None), ("", None)])
def test_a_containers_quota_counts(tmp_path: Path, text: str, cores: int | None) -> None:
    """Half of a big machine is half of its cores; no quota, or none that can be read, is all of them."""
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert usable_cores(quota) == (cores or len(os.sched_getaffinity(0)))
    assert threads_for(0, 1000) == 1
    told = thread_environment(2)
    assert set(told) >= {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
    assert told["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE"), (
        "threads that wait must not spin"
    )
