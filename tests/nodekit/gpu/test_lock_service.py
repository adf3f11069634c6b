"""Laws of leases from the real lock service, under the faults of nodes, replicas and store; looked at from the real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runtime.structs import from_struct
from tests.nodekit.conftest import is_alive, processes_with
from tests.nodekit.gpu.conftest import OwnRedis, journal, reapers_of, until
from tests.nodekit.gpu.lock_service import TTL_SECONDS, GpuNode, LockService
from yivideo.gpulock.v1 import monitor_pb2
from yivideo.task.v1 import task_pb2, task_pb2_grpc

StartLocks = Callable[..., Awaitable[LockService]]
StartNode = Callable[..., Awaitable[GpuNode]]
Events = list[task_pb2.TaskEvent]


def kinds(events: Events) -> list[str]:
    """Return what happened, heartbeats aside."""
    return [kind for event in events if (kind := event.WhichOneof("event") or "") != "heartbeat"]


def positions(events: Events) -> list[int]:
    return [event.waiting_for_gpu.position for event in events if event.HasField("waiting_for_gpu")]


async def test_nodes_take_turns_and_a_forced_release_kills_first(
    start_locks: StartLocks, start_gpu_process: StartNode, tmp_path: Path
) -> None:
    """Two nodes share a device in turn; a cancelled waiter is gone; a holder whose lease is taken by force has no process left
    when the next one starts, which is at once and not when the lease would have run out.
    """
    locks = await start_locks(YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT="60")
    one = await start_gpu_process("one", locks.addresses)
    two = await start_gpu_process("two", locks.addresses)
    first = one.begin("hold", "t1")
    await until(lambda: journal(one.folder) != [], first)
    dropped = two.begin("hold", "t2")
    await until_waiting(locks, 1)
    second = two.begin("hold", "t3")
    await until_waiting(locks, 2)
    await cancel(two, "t2")
    assert kinds(await dropped) == ["started", "waiting_for_gpu", "cancelling", "cancelled"]
    await until_waiting(locks, 1)
    status = await locks.status()
    assert [(holder.task_id, holder.node) for holder in status.holders] == [("t1", "gputoy")]
    force = monitor_pb2.ForceReleaseRequest(device="gpu-0", reason="needed elsewhere")
    await locks.monitor.ForceRelease(force, timeout=5)
    await until(lambda: journal(two.folder) != [], second)
    assert processes_with(f"{one.folder}/journal") == []
    events = await first
    assert events[-1].failed.error.code == "GPU_LEASE_LOST"
    assert events[-1].failed.error.retryable
    (two.folder / "open").touch()
    events = await second
    assert kinds(events)[-2:] == ["progress", "completed"]
    assert positions(events)[0] == 2
    assert (await locks.statistics()).releases == {"forced": 1, "normal": 1}


@pytest.mark.slow
async def test_a_node_is_granted_the_devices_of_the_host_that_it_names(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """`gpu.host` says where a pod is: its lease is of that host's device, though others are free; a host without any is told so."""
    devices = [{"name": f"card-{host}", "memory_mib": 8000, "host": host} for host in ("h1", "h2")]
    locks = await start_locks(YIVIDEO_GPULOCK__DEVICES=json.dumps(devices))
    two = await start_gpu_process("two", locks.addresses, YIVIDEO_GPU__HOST="h2")
    three = await start_gpu_process("three", locks.addresses, YIVIDEO_GPU__HOST="h3")
    work = two.begin("hold", "t1")
    await until(lambda: journal(two.folder) != [], work)
    holders = (await locks.status()).holders
    assert [[device.device for device in holder.lease.devices] for holder in holders] == [["card-h2"]]
    assert (await three.begin("hold", "t2"))[-1].failed.error.code == "GPU_NEVER_FITS"
    (two.folder / "open").touch()
    assert kinds(await work)[-1] == "completed"


async def until_waiting(locks: LockService, count: int) -> None:
    async with asyncio.timeout(10):
        while (await locks.status()).waiter_count != count:
            await asyncio.sleep(0.02)


async def cancel(node: GpuNode, task_id: str) -> None:
    stub = task_pb2_grpc.TaskServiceStub(node._channel)  # type: ignore[arg-type]
    await stub.CancelTask(task_pb2.CancelTaskRequest(task_id=task_id), timeout=5)


@pytest.mark.slow
async def test_frozen_node_has_no_process_left_when_the_next_holder_starts(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """A node that stands still for longer than its lease lives is cleared by its reaper before anybody else starts; thawed, it
    finds that its attempt has failed, whatever its work had come to.
    """
    locks = await start_locks()
    one = await start_gpu_process("one", locks.addresses)
    two = await start_gpu_process("two", locks.addresses)
    first = one.begin("hold", "t1")
    await until(lambda: journal(one.folder) != [], first)
    assert processes_with(f"{one.folder}/journal") != []
    one.process.send(signal.SIGSTOP)
    second = two.begin("hold", "t2")
    await until(lambda: journal(two.folder) != [], second)
    assert processes_with(f"{one.folder}/journal") == []
    one.process.send(signal.SIGCONT)
    events = await first
    assert (events[-1].failed.error.code, events[-1].failed.error.retryable) == ("GPU_LEASE_LOST", True)
    assert "end" not in journal(one.folder)
    (two.folder / "open").touch()
    assert kinds(await second)[-1] == "completed"


@pytest.mark.slow
async def test_node_killed_with_its_reaper_frees_its_device(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """A lease that nobody is left to give back is granted again when it has run out; the kernel has ended its processes."""
    locks = await start_locks()
    one = await start_gpu_process("one", locks.addresses)
    two = await start_gpu_process("two", locks.addresses)
    first = one.begin("hold", "t1")
    await until(lambda: journal(one.folder) != [], first)
    one.process.send(signal.SIGSTOP)  # it must not start another reaper
    for reaper in reapers_of(one):
        os.kill(reaper, signal.SIGKILL)
    one.process.send(signal.SIGKILL)
    second = two.begin("hold", "t2")
    await until(lambda: journal(two.folder) != [], second)
    assert processes_with(f"{one.folder}/journal") == []
    assert (await locks.statistics()).releases == {"heartbeat": 1}
    assert (await locks.statistics()).revocations == 1
    (two.folder / "open").touch()
    assert kinds(await second)[-1] == "completed"
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_lease_outlives_its_replica(
    start_locks: StartLocks, start_gpu_process: StartNode, how: signal.Signals
) -> None:
    """When the replica that serves a node dies or freezes, the node goes on at another with the same lease, and so do waiters."""
    locks = await start_locks(2)
    node = await start_gpu_process("one", locks.addresses)
    holding = node.begin("hold", "t1")
    await until(lambda: journal(node.folder) != [], holding)
    waiting = node.begin("hold", "t2", gate="second")
    await until_waiting(locks, 1)
    (token,) = [holder.lease.token for holder in (await locks.status()).holders]
    locks.replicas[0].send(how)
    await asyncio.sleep(1.5 * TTL_SECONDS)  # a lease that is not renewed has ended by now
    (holder,) = (await locks.status()).holders
    assert (holder.lease.token, holder.task_id) == (token, "t1")
    (node.folder / "open").touch()
    assert kinds(await holding)[-1] == "completed"
    await until(lambda: len(journal(node.folder)) == 3, waiting)
    (node.folder / "second").touch()
    assert kinds(await waiting)[-1] == "completed"
    assert (await locks.statistics()).releases == {"normal": 2}


@pytest.mark.slow
async def test_unreachable_service_ends_the_work_in_time(
    start_locks: StartLocks, start_gpu_process: StartNode
) -> None:
    """A node that cannot renew ends the work by its own clock; one that waits shows that nobody can be reached, and gives up in the
    end.
    """
    locks = await start_locks()
    node = await start_gpu_process("one", locks.addresses, YIVIDEO_GPU__UNREACHABLE_SECONDS="2.5")
    first = node.begin("hold", "t1")
    await until(lambda: journal(node.folder) != [], first)
    second = node.begin("hold", "t2")
    await until_waiting(locks, 1)
    locks.replicas[0].send(signal.SIGKILL)
    events = await first
    assert events[-1].failed.error.code == "GPU_LEASE_LOST"
    assert processes_with(f"{node.folder}/journal") == []
    events = await second
    assert events[-1].failed.error.code == "GPU_LOCK_UNAVAILABLE"
    assert positions(events) == [1, 0]


async def test_soft_timeout_asks_first(start_locks: StartLocks, start_gpu_process: StartNode) -> None:
    """A holder past the soft timeout is asked to stop: its attempt fails with GPU_LEASE_STOPPED and the lease counts as stopped."""
    locks = await start_locks(
        YIVIDEO_GPU_LOCK_MONITOR__TIMEOUT_LEVELS__WARNING="0.2",
        YIVIDEO_GPU_LOCK_MONITOR__TIMEOUT_LEVELS__SOFT_TIMEOUT="0.4",
        YIVIDEO_GPU_LOCK_MONITOR__TIMEOUT_LEVELS__HARD_TIMEOUT="30",
    )
    node = await start_gpu_process("one", locks.addresses)
    events = await node.begin("hold", "t1")
    assert (events[-1].failed.error.code, events[-1].failed.error.retryable) == ("GPU_LEASE_STOPPED", True)
    assert node.process.logged("GPU lease is held for long")
    assert (await locks.statistics()).releases == {"stopped": 1}


@pytest.mark.slow
async def test_lease_outlives_the_stores_memory(
    start_locks: StartLocks, start_gpu_process: StartNode, own_redis: OwnRedis
) -> None:
    """When the store has lost everything, the holder says what it holds and keeps it under the same token; a warm model stays
    parked; a waiter is served afterwards, with a greater token.
    """
    devices = '[{"name": "gpu-0", "memory_mib": 8000}, {"name": "gpu-1", "memory_mib": 8000}]'
    locks = await start_locks(redis=own_redis.url, YIVIDEO_GPULOCK__DEVICES=devices)
    node = await start_gpu_process("one", locks.addresses)
    assert kinds(await node.begin("model", "t0", memory_mib=5000, device="gpu-0"))[-1] == "completed"
    holding = node.begin("hold", "t1", device="gpu-1")
    await until(lambda: len(journal(node.folder)) == 3, holding)
    waiting = node.begin("hold", "t2", gate="second", device="gpu-1")
    await until_waiting(locks, 1)
    before = await held(locks)
    assert set(before) == {"large", "t1"}
    own_redis.restart_empty()
    await asyncio.sleep(1.5 * TTL_SECONDS)
    assert await held(locks) == before
    (node.folder / "open").touch()
    assert kinds(await holding)[-1] == "completed"
    await until(lambda: len(journal(node.folder)) == 5, waiting)
    assert (await held(locks))["t2"] > before["t1"]
    (node.folder / "second").touch()
    assert kinds(await waiting)[-1] == "completed"


async def held(locks: LockService) -> dict[str, int]:
    """Return the token under which each task, or parked model, holds devices."""
    return {holder.model or holder.task_id: holder.lease.token for holder in (await locks.status()).holders}


async def test_warm_models_over_the_service(start_locks: StartLocks, start_gpu_process: StartNode) -> None:
    """A warm model's hits, saved seconds and evictions are the service's figures; another node's request unloads it."""
    locks = await start_locks()
    one = await start_gpu_process("one", locks.addresses)
    two = await start_gpu_process("two", locks.addresses)
    for number in range(3):
        events = await one.begin("model", f"t{number}")
        assert kinds(events)[-1] == "completed"
    model = int(journal(one.folder)[0].split()[2])
    assert is_alive(model)
    (holder,) = (await locks.status()).holders
    assert (holder.state, holder.model) == (monitor_pb2.HOLDER_STATE_PARKED, "large")
    second = two.begin("hold", "t9")
    await until(lambda: journal(two.folder) != [], second)
    assert not is_alive(model)
    (two.folder / "open").touch()
    assert kinds(await second)[-1] == "completed"
    figures = await locks.statistics()
    assert (figures.warm_hits, figures.evictions) == (2, 1)
    assert figures.load_seconds_saved > 0
    assert figures.stale_messages == 0


async def test_tasks_queue_for_a_warm_model(start_locks: StartLocks, start_gpu_process: StartNode) -> None:
    """Tasks of one model that queue behind each other find it warm, until another node's turn comes, which unloads it."""
    locks = await start_locks()
    one = await start_gpu_process("one", locks.addresses)
    two = await start_gpu_process("two", locks.addresses)
    tasks = [one.begin("model", "t0", wait="g0")]
    await until(lambda: len(journal(one.folder)) == 2, tasks[0])
    for number in (1, 2):
        tasks.append(one.begin("model", f"t{number}", wait=f"g{number}"))
        await until_waiting(locks, number)
    other = two.begin("hold", "t8")
    await until_waiting(locks, 3)
    tasks.append(one.begin("model", "t3", wait="g3"))
    await until_waiting(locks, 4)
    for number in range(4):
        (one.folder / f"g{number}").touch()
    (two.folder / "open").touch()
    ends = [(await task)[-1] for task in tasks]
    assert [from_struct(end.completed.output)["lines"][3] for end in ends] == [
        "loaded",
        "warm",
        "warm",
        "loaded",
    ]
    assert kinds(await other)[-1] == "completed"
    figures = await locks.statistics()
    assert (figures.warm_hits, figures.evictions, figures.revocations) == (2, 1, 0)
    assert figures.load_seconds_saved > 0
