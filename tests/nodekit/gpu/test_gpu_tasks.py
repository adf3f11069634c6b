"""Laws of `context.gpu` as a task and its watchers see them, on devices that the node arbitrates by itself."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nodekit.gpu.metrics import WAIT_SECONDS
from nodekit.gpu.settings import GpuDevice, GpuSection
from nodekit.testkit import NodeUnderTest, TaskResult
from tests.nodekit.conftest import is_alive, processes_with
from tests.nodekit.gpu.conftest import NodeFactory, journal, until


def begin(
    node: NodeUnderTest, folder: Path, name: str = "hold", **fields: object
) -> asyncio.Task[TaskResult]:
    task_input = {"folder": str(folder), **fields}
    return asyncio.create_task(node.run(f"gputoy.{name}", task_input, task_id=str(fields.get("gate", "t1"))))


async def test_processes_see_the_lease_and_no_other_device(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """Programs and workers of the block see the leased device and share; the task knows device, share and token."""
    node = await start_gpu_node(gpu_mib=(8000, 24000))
    (tmp_path / "open").touch()
    result = await node.run("gputoy.hold", {"folder": str(tmp_path), "memory_mib": 9000})
    assert result.output["devices"] == ["gpu-1"]
    assert result.output["memory_mib"] == 9000
    assert journal(tmp_path)[0] == f"begin 1 9000 {result.output['token']:.0f}"
    result = await node.run("gputoy.hold", {"folder": str(tmp_path), "how": "worker", "device_count": 2})
    assert result.output["lines"][:2] == ["0,1", "8000"]
    assert not is_alive(int(result.output["lines"][2]))


async def test_waiters_are_shown_their_place_and_served_in_order(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """Tasks queue for a device one after the other; each place is an event, and progress follows the grant."""
    node = await start_gpu_node()
    tasks = []
    for number in range(3):
        tasks.append(begin(node, tmp_path, gate=f"open{number}"))
        await until(partial(node_has, node, f"open{number}"))
    for number, task in enumerate(tasks):
        await until(partial(has_lines, tmp_path, 2 * number + 1), task)
        (tmp_path / f"open{number}").touch()
    results = [await task for task in tasks]
    assert [result.gpu_positions() for result in results] == [[], [1], [2, 1]]
    assert [line.split()[0] for line in journal(tmp_path)] == ["begin", "end"] * 3
    tokens = [result.output["token"] for result in results]
    assert tokens == sorted(set(tokens))
    kinds = [event.WhichOneof("event") for event in results[2].events]
    assert kinds == ["started", "waiting_for_gpu", "waiting_for_gpu", "progress", "completed"]


def has_lines(folder: Path, count: int) -> bool:
    return len(journal(folder)) == count


def waited_seconds() -> float:
    """The sum of all waits that the node's figure has counted."""
    (figure,) = WAIT_SECONDS.collect()
    return next(sample.value for sample in figure.samples if sample.name.endswith("_sum"))


def node_has(node: NodeUnderTest, task_id: str) -> bool:
    return any(task_id == request.ask.task_id for request in node.locks.requests)


async def test_the_whole_wait_is_measured(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A node's figure is the time that the attempt waited, also where the service has heard of it only at the end."""
    node = await start_gpu_node()
    (tmp_path / "open").touch()
    before = waited_seconds()
    async with node.gpu_taken():
        task = begin(node, tmp_path)
        await until(lambda: node_has(node, "t1"))
        for request in node.locks.requests:
            request.asked_time = math.inf
    assert (await task).outcome == "completed"
    assert waited_seconds() > before


async def test_two_shares_fit_on_one_device(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """Memory shares of one device run side by side, as many as fit."""
    node = await start_gpu_node()
    tasks = [begin(node, tmp_path, gate=f"g{number}", memory_mib=4000) for number in range(3)]
    await until(lambda: len(journal(tmp_path)) == 2)
    await until(lambda: all(node_has(node, f"g{number}") for number in range(3)))
    for number in range(3):
        (tmp_path / f"g{number}").touch()
    results = [await task for task in tasks]
    assert {result.outcome for result in results} == {"completed"}
    assert sorted(len(result.gpu_positions()) for result in results) == [0, 0, 1]


async def test_cancel_while_waiting_takes_the_request_back(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """A task that is cancelled while it waits ends at once and leaves the queue."""
    node = await start_gpu_node()
    async with node.gpu_taken():
        task = begin(node, tmp_path)
        await until(lambda: node_has(node, "t1"))
        await node.cancel("t1")
        result = await task
        assert result.outcome == "cancelled"
        assert result.gpu_positions() == [1]
        await until(lambda: not node_has(node, "t1"))
    assert journal(tmp_path) == []


async def test_cancel_while_working_frees_the_device(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A cancelled task gives its device back when its processes are gone."""
    node = await start_gpu_node()
    task = begin(node, tmp_path)
    await until(lambda: journal(tmp_path) != [], task)
    await node.cancel("t1")
    assert (await task).outcome == "cancelled"
    assert processes_with(str(tmp_path)) == []
    async with node.gpu_taken():
        pass


@pytest.mark.parametrize(
    ("fields", "code", "retryable"),
    [
        ({"memory_mib": 9000}, "GPU_NEVER_FITS", False),
        ({"device_count": 2}, "GPU_NEVER_FITS", False),
        ({"device": "gpu-7"}, "GPU_DEVICE_UNKNOWN", False),
        ({"pool": "other"}, "GPU_POOL_UNKNOWN", False),
        ({"max_wait_seconds": 0.05}, "GPU_LOCK_TIMEOUT", True),
    ],
)
async def test_refusals_fail_the_task_with_their_code(
    start_gpu_node: NodeFactory, tmp_path: Path, fields: dict[str, Any], code: str, retryable: bool
) -> None:
    """What cannot be granted fails the task with the service's stable code."""
    node = await start_gpu_node()
    async with node.gpu_taken():
        result = await begin(node, tmp_path, **fields)
    assert (result.error.code, result.error.retryable) == (code, retryable)


async def test_what_outlives_the_block_is_ended_before_the_release(
    start_gpu_node: NodeFactory, tmp_path: Path
) -> None:
    """Background processes of a block, in sessions of their own too, are gone when the device is given back."""
    node = await start_gpu_node(gpu_mib=(8000,))
    task = begin(node, tmp_path, how="leave_behind")
    await until(lambda: node_has(node, "t1"))
    async with node.gpu_taken():
        assert processes_with(str(tmp_path)) == []
    assert (await task).outcome == "completed"


@pytest.mark.parametrize("how", ["child", "stubborn"])
async def test_lost_lease_kills_then_confirms(start_gpu_node: NodeFactory, tmp_path: Path, how: str) -> None:
    """A revoked lease's processes are gone before the device is granted again; the task fails, and may be retried."""
    node = await start_gpu_node(kill_grace_seconds=30)
    task = begin(node, tmp_path, how=how)
    await until(lambda: journal(tmp_path) != [], task)
    node.locks.take_back("an operator took it")
    async with node.gpu_taken():
        assert processes_with(str(tmp_path)) == []
    result = await task
    assert (result.error.code, result.error.retryable) == ("GPU_LEASE_LOST", True)
    assert "an operator took it" in result.error.message
    assert "end" not in journal(tmp_path)


async def test_soft_stop_gives_programs_their_grace(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A holder that is asked to stop is cancelled with grace, gives the device back, and may be retried."""
    node = await start_gpu_node()
    task = begin(node, tmp_path)
    await until(lambda: journal(tmp_path) != [], task)
    node.locks.ask_back("held for 60 min")
    result = await task
    assert (result.error.code, result.error.retryable) == ("GPU_LEASE_STOPPED", True)
    assert processes_with(str(tmp_path)) == []
    async with node.gpu_taken():
        pass


async def test_preemptible_lease_gives_way(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A preemptible lease is taken back when somebody else needs the device, and not before."""
    node = await start_gpu_node()
    task = begin(node, tmp_path, preemptible=True)
    await until(lambda: journal(tmp_path) != [], task)
    async with node.gpu_taken():
        assert processes_with(str(tmp_path)) == []
        assert (await task).error.code == "GPU_LEASE_STOPPED"


@pytest.mark.parametrize("how", ["return", "store"])
async def test_no_result_counts_under_a_stale_fence(
    start_gpu_node: NodeFactory, tmp_path: Path, how: str
) -> None:
    """An attempt whose lease was lost can neither store nor complete, even when it hides the loss."""
    node = await start_gpu_node()
    task = begin(node, tmp_path, "swallow", how=how)
    await until(lambda: journal(tmp_path) != [], task)
    node.locks.take_back("gone")
    result = await task
    assert (result.outcome, result.error.code) == ("failed", "GPU_LEASE_LOST")
    assert (tmp_path / "refused").exists() == (how == "store")
    assert not list(node.root.rglob("result.txt"))


async def test_work_beside_the_block_is_not_the_leases(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """What the task has started outside the block sees no lease's variables and survives the block's end."""
    node = await start_gpu_node()
    (tmp_path / "open").touch()
    result = await begin(node, tmp_path, "outside")
    assert result.outcome == "completed"
    lines = journal(tmp_path)
    assert "begin 0 8000 inside" in lines
    assert any(line.endswith("outside") and " 8000 " not in line for line in lines)
    assert lines.count("end") == 2


async def test_node_set_to_cpu_asks_for_none(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """On a node set to CPU the lease comes at once, has no devices, and hides those of the machine."""
    node = await start_gpu_node(gpu_mib=())
    result = await node.run("gputoy.hold", {"folder": str(tmp_path), "how": "worker"})
    assert (result.output["devices"], result.output["token"]) == ([], 0)
    assert result.output["lines"][:2] == ["", "0"]
    assert result.gpu_positions() == []


async def test_task_must_be_declared(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A task that did not declare `gpu=True` gets none: what clients read about it stays true."""
    node = await start_gpu_node()
    result = await node.run("gputoy.undeclared", {"folder": str(tmp_path)})
    assert (result.outcome, result.error.code) == ("failed", "INTERNAL")


async def test_own_devices_come_from_the_settings(start_gpu_node: NodeFactory, tmp_path: Path) -> None:
    """A node that runs alone arbitrates the devices that its settings name."""
    device = GpuDevice(name="big", visible="GPU-5f2c", memory_mib=100)
    gpu = GpuSection(devices=(device,), guard_root=tmp_path / "guard")
    node = await start_gpu_node(gpu_mib=(), gpu=gpu)
    result = await node.run("gputoy.hold", {"folder": str(tmp_path), "how": "worker"})
    assert result.output["lines"][:2] == ["GPU-5f2c", "100"]
