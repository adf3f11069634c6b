"""Laws of models that are stopped, shared and measured: a load can be cancelled, a drain ends all, slots bound the processes."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from nodekit import Node, TaskContext, WarmModel
from nodekit.testkit import NodeUnderTest
from tests.nodekit import stream_calls as calls
from tests.nodekit.conftest import eventually, is_alive
from tests.nodekit.test_model_workers import Nothing, Told, node_with, run


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_cancel_in_the_middle_of_a_load_ends_the_process(tmp_path: Path) -> None:
    """CANCELLED is said when the half-loaded model is gone; a model of another key is loaded as ever."""
    node = Node("loadtoy")

    @node.task("loadtoy.use")
    async def use(request: Nothing, context: TaskContext) -> Told:
        """Loads for ever, the first time."""
        stuck = not (tmp_path / "loading").exists()
        load = partial(calls.load_forever, str(tmp_path)) if stuck else calls.load
        async with context.warm("toy", load, processor=True) as model:
            return Told(value=await model.run(calls.who))

    async with NodeUnderTest(node, tmp_path) as under_test:
        running = asyncio.create_task(under_test.run("loadtoy.use", {}, task_id="t1"))
        await eventually(lambda: (tmp_path / "loading").exists() and (tmp_path / "loading").read_text() != "")
        loader = int((tmp_path / "loading").read_text())
        await under_test.cancel("t1")
        assert (await running).outcome == "cancelled"
        assert not is_alive(loader)
        again = await under_test.run("loadtoy.use", {}, task_id="t2")
        assert again.output["value"] not in (None, loader), again.error


async def test_a_drain_ends_the_models(tmp_path: Path) -> None:
    """A node that goes down hands a stream back that does not end in time; neither it nor an idle model stays behind."""
    pids: list[int] = []

    async def use(model: WarmModel, context: TaskContext) -> None:
        if context.task_id == "idle":
            pids.append(await model.run(calls.who))
            return
        async for pid in model.stream(calls.forever, str(tmp_path)):
            pids.append(pid)

    async with NodeUnderTest(node_with(use), tmp_path, drain_seconds=0.3) as node:
        await run(node, "idle")
        running = asyncio.create_task(run(node, "t1"))
        await eventually(lambda: (tmp_path / "working").exists())
        await node.stop()
        result = await running
    assert result.outcome != "completed"
    assert len(pids) == 2 and not any(is_alive(pid) for pid in pids)


async def test_a_key_has_at_most_a_process_for_each_slot(tmp_path: Path) -> None:
    """Tasks at once load the model once each; of all that come later none loads more than that, and `max_warm` processes stay."""
    pids: list[int] = []

    async def use(model: WarmModel, context: TaskContext) -> None:
        others = 2 if context.task_id.startswith("pair") else 0
        pids.append(await model.run(calls.meet, str(tmp_path), context.task_id, others))

    async with NodeUnderTest(node_with(use, slots=2), tmp_path) as node:
        await asyncio.gather(run(node, "pair-1"), run(node, "pair-2"))
        assert len(set(pids)) == 2
        await eventually(lambda: sum(is_alive(pid) for pid in set(pids)) == 1)
        await run(node, "later")
    assert pids[2] in pids[:2]


async def test_loading_and_running_are_measured_apart(tmp_path: Path) -> None:
    """Each model's loads, calls and warm starts are counted under its key; a cold start is a load, a warm one is not."""

    async def use(model: WarmModel, _: TaskContext) -> None:
        await model.run(calls.who)
        async for _ in model.stream(calls.count, str(tmp_path), 3):
            pass

    def seen() -> list[float]:
        return [
            figure("yivideo_node_model_load_seconds_count", model="toy"),
            figure("yivideo_node_model_run_seconds_count", model="toy"),
            figure("yivideo_node_warm_starts_total", model="toy", hit="no"),
            figure("yivideo_node_warm_starts_total", model="toy", hit="yes"),
        ]

    before = seen()
    async with NodeUnderTest(node_with(use), tmp_path) as node:
        await run(node)
        await run(node, "t2")
    assert [now - then for now, then in zip(seen(), before, strict=True)] == [1, 4, 1, 1]


@pytest.mark.parametrize(("fails", "counted"), [(False, 1), (True, 0)])
async def test_the_real_time_factor_counts_work_that_was_done(
    tmp_path: Path, fails: bool, counted: int
) -> None:
    """Media seconds and their factor are counted when the block has ended well, under the task's name."""
    node = Node("mediatoy")

    @node.task("mediatoy.work")
    async def work(request: Nothing, context: TaskContext) -> Told:
        """Works on a minute of audio."""
        with context.working_on(60.0):
            if fails:
                raise ValueError("no audio")
        return Told()

    def seen() -> list[float]:
        name = "mediatoy.work"
        return [
            figure("yivideo_task_realtime_factor_count", task_name=name),
            figure("yivideo_task_media_seconds_total", task_name=name),
            figure("yivideo_task_realtime_factor_bucket", task_name=name, le="5.0"),
        ]

    before = seen()
    async with NodeUnderTest(node, tmp_path) as under_test:
        await under_test.run("mediatoy.work", {})
    assert [now - then for now, then in zip(seen(), before, strict=True)] == [counted, 60 * counted, counted]
