"""Laws of what a dead node leaves: its reaper gives its leases back when nothing of it is left, with real processes throughout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from nodekit.gpu.orphan_release import to_terms
from nodekit.gpu.session import LockSession
from nodekit.gpu.transport import LockReplicas
from nodekit.process.reaper import reaping
from runtime.settings import RuntimeSection
from tests.nodekit.conftest import eventually, is_alive, processes_with
from tests.nodekit.gpu.conftest import journal, reapers_of, until
from tests.nodekit.gpu.lock_service import GpuNode, LockService
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2
from yivideo.task.v1 import task_pb2

StartLocks = Callable[..., Awaitable[LockService]]
StartNode = Callable[..., Awaitable[GpuNode]]

LONG_TTL = {"YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT": "300"}
"""No test waits for that: whoever is granted meanwhile was not granted by the clock."""


async def holders(locks: LockService) -> dict[str, int]:
    """Return the token of each task, or parked model, that holds a device."""
    return {holder.model or holder.task_id: holder.lease.token for holder in (await locks.status()).holders}


async def until_granted(
    locks: LockService, node: GpuNode, task: asyncio.Task[list[task_pb2.TaskEvent]]
) -> None:
    """Wait until a node's task works on its device."""
    await until(lambda: journal(node.folder) != [], task)
    assert (await locks.statistics()).revocations == 0


async def finish(node: GpuNode, task: asyncio.Task[list[task_pb2.TaskEvent]]) -> None:
    """Let a task end well."""
    (node.folder / "open").touch()
    assert (await task)[-1].HasField("completed")


@pytest.mark.parametrize("how", ["worker", "child"])
async def test_killed_nodes_device_goes_to_the_next(
    start_locks: StartLocks, start_gpu_process: StartNode, how: str
) -> None:
    """After SIGKILL to a node that holds a device, whoever waits is granted it long before the lease would run out, under a larger
    token, and when nothing of the dead node's work is left; the dead node's own waiter is in nobody's way.
    """
    locks = await start_locks(**LONG_TTL)
    one = await start_gpu_process("one", locks.addresses)
    two = await start_gpu_process("two", locks.addresses)
    first = one.begin("hold", "t1") if how == "child" else one.begin("model", "t1", wait="never")
    await until(lambda: len(journal(one.folder)) == (1 if how == "child" else 2), first)
    before = max((await holders(locks)).values())
    ghost = one.begin("hold", "t2", gate="never")
    await until_waiting(locks, 1)
    second = two.begin("hold", "t3")
    await until_waiting(locks, 2)
    work = processes_with(f"{one.folder}/journal") if how == "child" else [model_pid(one)]
    assert work
    one.process.send(signal.SIGKILL)
    await until_granted(locks, two, second)
    assert not any(is_alive(pid) for pid in work)
    after = await holders(locks)
    assert set(after) == {"t3"}
    assert after["t3"] > before
    assert len(one.process.logged("a dead node's leases were given back")) == 1
    await finish(two, second)
    history = await locks.monitor.ListHistory(monitor_pb2.ListHistoryRequest(), timeout=5)
    ends = {record.task_id: record.reason for record in history.records}
    assert ends == {"t1": "heartbeat", "t2": "cancelled", "t3": "normal"}
    await asyncio.gather(first, ghost, return_exceptions=True)


async def until_waiting(locks: LockService, count: int) -> None:
    async with asyncio.timeout(10):
        while (await locks.status()).waiter_count != count:
            await asyncio.sleep(0.02)


def model_pid(node: GpuNode) -> int:
    """Return the pid of the process that has loaded the model."""
    return int(journal(node.folder)[0].split()[2])


async def test_killed_nodes_parked_lease_goes_back(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """A model that a dead node had parked is gone, and its device is free for the next, though nobody was asked to yield it; also
    when the node's reaper is another one than that which heard of the lease.
    """
    locks = await start_locks(**LONG_TTL)
    one = await start_gpu_process("one", locks.addresses, YIVIDEO_NODE__FROZEN_SECONDS="0")
    two = await start_gpu_process("two", locks.addresses)
    assert (await one.begin("model", "t1"))[-1].HasField("completed")
    (holder,) = (await locks.status()).holders
    assert holder.state == monitor_pb2.HOLDER_STATE_PARKED
    assert is_alive(model_pid(one))
    (reaper,) = reapers_of(one)
    os.kill(reaper, signal.SIGKILL)
    await eventually(lambda: len(set(reapers_of(one)) - {reaper}) == 1)
    # The node's loop has come round since then, and told the new one.
    assert (await one.begin("undeclared", "t1b"))[-1].HasField("failed")
    one.process.send(signal.SIGKILL)
    async with asyncio.timeout(10):
        while (await locks.status()).holders:
            await asyncio.sleep(0.02)
    assert not is_alive(model_pid(one))
    second = two.begin("hold", "t2")
    await until_granted(locks, two, second)
    assert (await locks.statistics()).evictions == 0
    assert (await holders(locks))["t2"] > holder.lease.token
    await finish(two, second)


async def test_a_frozen_nodes_device_goes_to_the_next(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """A node that was killed because it stood still has its leases given back as well, over the replica that still answers,
    and with the token that the lock service asks for.
    """
    token = {"YIVIDEO_RUNTIME__TOKEN": "a-secret-of-this-test"}
    locks = await start_locks(2, **LONG_TTL, **token)
    addresses = locks.addresses
    one = await start_gpu_process("one", addresses, YIVIDEO_NODE__FROZEN_SECONDS="0.5", **token)
    two = await start_gpu_process("two", addresses[1:], **token)
    first = one.begin("hold", "t1")
    await until(lambda: journal(one.folder) != [], first)
    second = two.begin("hold", "t2")
    locks.replicas[0].send(signal.SIGKILL)
    one.process.send(signal.SIGSTOP)
    await until(lambda: journal(two.folder) != [], second)
    assert processes_with(f"{one.folder}/journal") == []
    await finish(two, second)
    await asyncio.gather(first, return_exceptions=True)


async def test_a_clean_end_leaves_nothing_to_release(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """A node that is told to stop gives its leases back itself, and its reaper runs nothing."""
    locks = await start_locks(**LONG_TTL)
    one = await start_gpu_process("one", locks.addresses)
    assert (await one.begin("model", "t1"))[-1].HasField("completed")
    assert len((await locks.status()).holders) == 1
    one.process.send(signal.SIGTERM)
    assert await asyncio.to_thread(one.process.popen.wait, 10) == 0
    assert (await locks.status()).holders == []
    assert (await locks.statistics()).releases == {"normal": 1}
    assert reapers_of(one) == []
    assert one.process.logged("a dead node's leases were given back") == []


@pytest.mark.slow
async def test_who_lives_keeps_its_lease(start_locks: StartLocks) -> None:
    """A pipe that breaks is no proof of death: the reaper gives nothing back while the process that started it is there."""
    locks = await start_locks(**LONG_TTL)
    hello = lock_pb2.Hello(client_id="me")
    replicas = LockReplicas(locks.addresses, RuntimeSection())
    async with reaping(f"orphan-test-{os.getpid()}/") as reaper:
        reaper.release_on_death(to_terms(hello, locks.addresses, RuntimeSection()))
        session = LockSession(replicas.open, hello, margin_seconds=1, unreachable_seconds=60, ledger=reaper)
        holding = await session.acquire(lock_pb2.Acquire(request_id="r 1\n", task_id="t1"), lambda *_: None)
        reaper._program.close()
        async with asyncio.timeout(20):
            await reaper._program.wait()
        assert await holders(locks) == {"t1": holding.token}
        assert await session.release(holding, lock_pb2.RELEASE_REASON_NORMAL) == ""
        await session.aclose()
    await replicas.aclose()


@pytest.mark.slow
async def test_without_a_lock_service_the_reaper_ends(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """When nobody takes the leases back, the reaper has ended the work all the same, and gives up: no process is left."""
    locks = await start_locks(**LONG_TTL)
    one = await start_gpu_process("one", locks.addresses)
    first = one.begin("hold", "t1")
    await until(lambda: journal(one.folder) != [], first)
    (reaper,) = reapers_of(one)
    locks.replicas[0].send(signal.SIGKILL)
    one.process.send(signal.SIGKILL)
    await eventually(lambda: processes_with(f"{one.folder}/journal") == [])
    await eventually(lambda: wills_of(reaper) != [])
    await eventually(lambda: not is_alive(reaper) and wills_of(reaper) == [], 30)
    await asyncio.gather(first, return_exceptions=True)


def wills_of(reaper: int) -> list[int]:
    """Return the pids of the orphan release that a reaper runs: it is in the reaper's session."""
    found = []
    for pid in processes_with("gpu/orphan_release.py"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == reaper:
                found.append(pid)
    return found
