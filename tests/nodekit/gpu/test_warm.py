"""Laws of warm models: loaded once, found by the next task, and gone when somebody else needs the memory."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from nodekit.gpu.local.request import State
from nodekit.gpu.settings import GpuSection
from nodekit.testkit import NodeUnderTest, TaskResult
from tests.nodekit.conftest import eventually, is_alive
from tests.nodekit.gpu.conftest import NodeFactory, journal, until


async def use(node: NodeUnderTest, folder: Path, **fields: object) -> TaskResult:
    """Run one task that uses a model."""
    return await node.run("gputoy.model", {"folder": str(folder), **fields})


def loads(folder: Path) -> list[str]:
    """Return the keys of the models in the order in which they were loaded."""
    return [line.split()[1] for line in journal(folder) if line.startswith("load")]


def pid(result: TaskResult) -> int:
    return int(result.output["lines"][1])


async def test_second_task_finds_the_model_loaded(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """Tasks of one model share its process, one after the other; each has a token of its own, greater than the last."""
    node = await start_gpu_node()
    results = [await use(node, tmp_path) for _ in range(3)]
    assert [result.output["lines"][3] for result in results] == ["loaded", "warm", "warm"]
    assert len({pid(result) for result in results}) == 1
    assert loads(tmp_path) == ["large"]
    tokens = [result.output["token"] for result in results]
    assert tokens == sorted(set(tokens))
    assert is_alive(pid(results[0]))
    await node.stop()
    assert not is_alive(pid(results[0]))


def begin(node: NodeUnderTest, folder: Path, gate: str, **fields: object) -> asyncio.Task[TaskResult]:
    """Begin a task whose use of the model lasts until its gate is open."""
    asked = {"folder": str(folder), "wait": gate, **fields}
    return asyncio.create_task(node.run("gputoy.model", asked, task_id=gate))


def waits(node: NodeUnderTest, task_id: str) -> bool:
    return any(
        request.ask.task_id == task_id and request.state is State.WAITING for request in node.locks.requests
    )


async def test_tasks_that_queue_for_a_model_in_use_find_it_warm(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """On a busy device the tasks of one model follow each other without unloading it; one cancelled meanwhile harms none."""
    node = await start_gpu_node()
    tasks = [begin(node, tmp_path, "g0")]
    await until(lambda: len(journal(tmp_path)) == 2)
    for gate in ("g1", "gone", "g2", "g3"):
        tasks.append(begin(node, tmp_path, gate))
        await until(partial(waits, node, gate))
    await node.cancel("gone")
    assert (await tasks.pop(2)).outcome == "cancelled"
    results = []
    for gate in ("g0", "g1", "g2", "g3"):
        (tmp_path / gate).touch()
        results.append(await tasks.pop(0))
    assert [result.output["lines"][3] for result in results] == ["loaded", "warm", "warm", "warm"]
    assert [result.gpu_positions()[-1:] for result in results] == [[], [1], [1], [1]]
    assert (loads(tmp_path), len({pid(result) for result in results})) == (["large"], 1)
    tokens = [result.output["token"] for result in results]
    assert tokens == sorted(set(tokens))


async def test_those_before_it_do_not_wait_for_a_warm_task(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """A task of a model in use does not pass whoever asked before it: then the model is unloaded, and loaded again."""
    node = await start_gpu_node()
    first = begin(node, tmp_path, "g0")
    await until(lambda: len(journal(tmp_path)) == 2)
    other = begin(node, tmp_path, "g1", key="other")
    await until(lambda: waits(node, "g1"))
    second = begin(node, tmp_path, "g2")
    await until(lambda: waits(node, "g2"))
    for gate in ("g0", "g1", "g2"):
        (tmp_path / gate).touch()
    results = [await task for task in (first, other, second)]
    assert [result.output["lines"][3] for result in results] == ["loaded", "loaded", "loaded"]
    assert loads(tmp_path) == ["large", "other", "large"]


async def test_those_that_wait_for_a_model_that_dies_share_the_next(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """When the process of a model in use dies, the first of those who wait for it loads it again, and the others find that warm."""
    node = await start_gpu_node()
    first = begin(node, tmp_path, "g0")
    await until(lambda: len(journal(tmp_path)) == 2)
    rest = []
    for gate in ("g1", "g2"):
        rest.append(begin(node, tmp_path, gate))
        await until(partial(waits, node, gate))
    os.kill(int(journal(tmp_path)[1].split()[2]), signal.SIGKILL)
    assert (await first).error.code == "WORKER_DIED"
    for gate in ("g1", "g2"):
        (tmp_path / gate).touch()
    assert [(await task).output["lines"][3] for task in rest] == ["loaded", "warm"]


async def test_warm_model_yields_its_memory(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """When another request needs the memory, the model's process is gone before that request is granted."""
    node = await start_gpu_node()
    first = await use(node, tmp_path)
    async with node.gpu_taken():
        assert not is_alive(pid(first))
    again = await use(node, tmp_path)
    assert again.output["lines"][3] == "loaded"
    assert loads(tmp_path) == ["large", "large"]


async def test_share_beside_a_warm_model_lets_it_be(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A request that fits beside a warm model does not unload it."""
    node = await start_gpu_node()
    await use(node, tmp_path, memory_mib=5000)
    async with node.gpu_taken(memory_mib=3000):
        assert (await use(node, tmp_path, memory_mib=5000)).output["lines"][3] == "warm"


async def test_no_more_models_stay_than_allowed(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """At most `max_warm` models stay loaded: the one that was used longest ago goes."""
    node = await start_gpu_node(gpu=GpuSection(max_warm=2, guard_root=tmp_path / "guard"))
    results = {key: await use(node, tmp_path, key=key, memory_mib=1000) for key in ("a", "b")}
    await use(node, tmp_path, key="a", memory_mib=1000)
    await use(node, tmp_path, key="c", memory_mib=1000)
    assert is_alive(pid(results["a"]))
    assert not is_alive(pid(results["b"]))


@pytest.mark.parametrize(
    ("how", "next_start"), [("raise", "warm"), ("die", "loaded"), ("interrupt", "loaded")]
)
async def test_failed_use(start_gpu_node: NodeFactory, tmp_path: Path, how: str, next_start: str) -> None:
    """A function that raises leaves the model loaded; a process that dies, or was interrupted in a call and so may answer
    the wrong one, takes the model with it.
    """
    node = await start_gpu_node()
    failed = await use(node, tmp_path, how=how)
    assert failed.error.code == {"raise": "BAD_FRAME"}.get(how, "WORKER_DIED")
    assert (await use(node, tmp_path)).output["lines"][3] == next_start


async def test_model_that_cannot_be_loaded_frees_the_device(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """The task fails as its `load` does, and nothing is kept."""
    node = await start_gpu_node()
    assert (await use(node, tmp_path, key="broken")).error.code == "MODEL_BROKEN"
    async with node.gpu_taken():
        pass


async def test_cancelled_use_ends_the_process(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A cancel in the middle of a use ends the model's process and frees the device."""
    node = await start_gpu_node()
    task = asyncio.create_task(
        node.run("gputoy.model", {"folder": str(tmp_path), "wait": "never"}, task_id="t1")
    )
    await until(lambda: len(journal(tmp_path)) == 2, task)
    await node.cancel("t1")
    assert (await task).outcome == "cancelled"
    assert not is_alive(int(journal(tmp_path)[1].split()[2]))
    async with node.gpu_taken():
        pass


@pytest.mark.parametrize("phase", ["used", "parked"])
async def test_lost_lease_ends_the_model(start_gpu_node: NodeFactory, tmp_path: Path, phase: str) -> None:
    """A model whose lease is taken back is gone before the device is granted again, whether it was in use or not."""
    node = await start_gpu_node()
    wait = "never" if phase == "used" else ""
    task = asyncio.create_task(use(node, tmp_path, wait=wait))
    await until(lambda: len(journal(tmp_path)) == 2)
    if phase == "parked":
        await task
    node.locks.take_back("an operator took it")
    async with node.gpu_taken():
        assert not is_alive(int(journal(tmp_path)[1].split()[2]))
    if phase == "used":
        assert (await task).error.code == "GPU_LEASE_LOST"
    assert (await use(node, tmp_path)).output["lines"][3] == "loaded"


async def test_dead_model_is_not_offered(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A parked model whose process was killed for its memory is loaded anew."""
    node = await start_gpu_node()
    first = pid(await use(node, tmp_path))
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not is_alive(first))
    again = await use(node, tmp_path)
    assert (again.output["lines"][3], pid(again) != first) == ("loaded", True)


async def test_two_uses_at_once_are_two_models(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A model that is in use is not waited for when the device has room for another; afterwards one of them stays."""
    node = await start_gpu_node()
    tasks = [
        asyncio.create_task(use(node, tmp_path, memory_mib=3000, wait="go")),
        asyncio.create_task(use(node, tmp_path, memory_mib=3000, wait="go")),
    ]
    await until(lambda: len(journal(tmp_path)) == 4)
    (tmp_path / "go").touch()
    pids = [pid(await task) for task in tasks]
    assert len(set(pids)) == 2
    assert sorted(is_alive(one) for one in pids) == [False, True]


async def test_idle_model_goes(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A model that nobody uses for `warm_idle_seconds` is unloaded."""
    node = await start_gpu_node(gpu=GpuSection(warm_idle_seconds=0.05, guard_root=tmp_path / "guard"))
    first = await use(node, tmp_path)
    await eventually(lambda: not is_alive(pid(first)))


async def test_warm_on_the_processor(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A node that is set to CPU keeps models loaded too, without any lease."""
    node = await start_gpu_node(gpu_mib=())
    results = [await use(node, tmp_path) for _ in range(2)]
    assert [result.output["lines"][2:] for result in results] == [["", "loaded"], ["", "warm"]]
