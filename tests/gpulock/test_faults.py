"""The failure matrix on real processes: what is killed or frozen costs time, never exclusion, a place or a lease."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gpulock.lock_client import channel
from tests.gpulock.machine import LOCK_DELAY_SECONDS, TTL_SECONDS, Machine, boot
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Machine]:
    """An installation without processes; what a test starts ends with it."""
    built = Machine(tmp_path, free_port)
    yield built
    built.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_holder_that_dies_or_freezes(machine: Machine, number: signal.Signals) -> None:
    """Its device is granted again after TTL and lock delay, not before its last beat's TTL is over, with a larger token; a thawed
    holder finds that it has lost.
    """
    machine.start_redis()
    await machine.start_replica("a")
    machine.start_holder("h1", "a")
    _, first = await machine.wrote("h1", "in")
    machine.start_holder("h2", "a")
    async with channel(machine.addresses["a"]) as opened:
        async with asyncio.timeout(10):
            while (await opened.monitor.GetStatus(monitor_pb2.GetStatusRequest())).waiter_count == 0:
                await asyncio.sleep(0.02)
        struck = boot()
        machine.procs["h1"].signal(number)
        at, second = await machine.wrote("h2", "in")
        assert second > first
        assert at - struck > TTL_SECONDS - 0.3 - 0.05 + LOCK_DELAY_SECONDS
        if number is signal.SIGSTOP:
            machine.procs["h1"].signal(signal.SIGCONT)
            await machine.wrote("h1", "out")
        assert not any(word == "out" for _, word, _ in machine.lines("h2"))


async def test_a_replica_that_dies(machine: Machine) -> None:
    """Clients of a killed replica go on at the other one: the holder with the same lease, the waiters in their order."""
    machine.start_redis()
    for name in ("a", "b"):
        await machine.start_replica(name)
    machine.start_holder("h1", "a", "b")
    _, token = await machine.wrote("h1", "in")
    async with channel(machine.addresses["b"]) as opened:
        for waiters, name in enumerate(("h2", "h3", "h4"), 1):
            machine.start_holder(name, "a", "b")
            async with asyncio.timeout(10):
                while (await opened.monitor.GetStatus(monitor_pb2.GetStatusRequest())).waiter_count < waiters:
                    await asyncio.sleep(0.02)
        machine.procs["a"].kill()
        await asyncio.sleep(2 * TTL_SECONDS)
        status = await opened.monitor.GetStatus(monitor_pb2.GetStatusRequest())
        assert [(h.lease.request_id, h.lease.token) for h in status.holders] == [("h1", token)]
        assert [waiter.request_id for waiter in status.waiters] == ["h2", "h3", "h4"]
        assert [word for _, word, _ in machine.lines("h1")] == ["in"]
        machine.procs["h1"].kill()
        at, _ = await machine.wrote("h2", "in")
        assert at


async def test_a_replica_that_freezes(machine: Machine) -> None:
    """A frozen replica holds nobody up: its waiters attach to another; thawed, it takes nothing away."""
    machine.start_redis()
    for name in ("a", "b"):
        await machine.start_replica(name)
    async with channel(machine.addresses["a"]) as first, channel(machine.addresses["b"]) as second:
        async with first.client("n1") as holder, first.client("n2") as waiter:
            lease = await holder.granted("r1")
            await waiter.acquire("r2")
            await waiter.receive("queued", "r2")
            machine.procs["a"].signal(signal.SIGSTOP)
            async with second.client("n1") as moved, second.client("n2") as moved_waiter:
                await moved_waiter.acquire("r2")
                await moved_waiter.receive("queued", "r2")
                for _ in range(8):
                    await moved.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
                    await asyncio.sleep(0.3)
                machine.procs["a"].signal(signal.SIGCONT)
                await asyncio.sleep(0.5)
                await moved.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
                await moved.release(lease)
                await moved.receive("released", "r1")
                granted = await moved_waiter.receive("granted", "r2")
                assert granted.token > lease.token
                assert "lost" not in moved.kinds("r1")


@pytest.mark.parametrize("append_only", [True, False])
async def test_redis_is_killed_and_restarted(machine: Machine, append_only: bool) -> None:
    """With its data or without: the holder goes on with its lease, nothing is granted for the window, the waiter keeps waiting and
    is served with a larger token.
    """
    machine.append_only = append_only
    machine.start_redis()
    await machine.start_replica("a")
    machine.start_holder("h1", "a")
    _, token = await machine.wrote("h1", "in")
    async with channel(machine.addresses["a"]) as opened, opened.client("n2") as waiter:
        await waiter.acquire("r2")
        await waiter.receive("queued", "r2")
        machine.procs["redis"].kill()
        machine.start_redis()
        async with asyncio.timeout(10):
            while True:
                status = await opened.monitor.GetStatus(monitor_pb2.GetStatusRequest())
                if not status.recovering and status.holders:
                    break
                await asyncio.sleep(0.05)
        assert [(h.lease.request_id, h.lease.token) for h in status.holders] == [("h1", token)]
        assert [w.request_id for w in status.waiters] == ["r2"]
        assert [word for _, word, _ in machine.lines("h1")] == ["in"]
        await waiter.receive("reclaim_requested")
        killed = boot()
        machine.procs["h1"].kill()
        granted = await waiter.receive("granted", "r2")
        assert boot() - killed > TTL_SECONDS - 0.3 - 0.05
        assert granted.token > token


async def test_a_failover_to_a_stale_dataset(machine: Machine) -> None:
    """The promoted dataset has not seen the last hand-over: its new holder reclaims, the old one's lease gives way, and the next
    token is larger than all.
    """
    machine.append_only = True
    machine.start_redis()
    await machine.start_replica("a")
    async with (
        channel(machine.addresses["a"]) as opened,
        opened.client("n1") as old,
        opened.client("n2") as new,
    ):
        stale_lease = await old.granted("r1")
        shutil.copytree(machine.folder / "appendonlydir", machine.folder / "stale")
        await old.release(stale_lease)
        await old.receive("released", "r1")
        lease = await new.granted("r2")
        machine.procs["redis"].kill()
        shutil.rmtree(machine.folder / "appendonlydir")
        (machine.folder / "stale").rename(machine.folder / "appendonlydir")
        machine.start_redis()
        await new.receive("reclaim_requested")
        await new.send(
            reclaim=lock_pb2.Reclaim(
                acquire=lock_pb2.Acquire(request_id="r2"), token=lease.token, devices=["gpu-0"],
                grant_time=lease.grant_time,
            )
        )  # fmt: skip
        assert (await new.receive("renewed", "r2")).token == lease.token
        lost = await old.receive("lost", "r1")
        assert lost.reason == lock_pb2.STOP_REASON_SUPERSEDED
        await old.acquire("r3")
        await old.receive("queued", "r3")
        async with asyncio.timeout(10):
            while (await opened.monitor.GetStatus(monitor_pb2.GetStatusRequest())).recovering:
                await new.send(renew=lock_pb2.Renew(request_id="r2", token=lease.token))
                await asyncio.sleep(0.2)
        await new.release(lease)
        assert (await old.receive("granted", "r3")).token > lease.token


async def test_a_frozen_redis_takes_no_lease(machine: Machine) -> None:
    """While Redis is frozen for longer than a TTL nobody can beat; thawed, it does not take that for the holders' silence."""
    machine.start_redis()
    await machine.start_replica("a")
    async with channel(machine.addresses["a"]) as opened:
        async with opened.client("n1") as holder:
            lease = await holder.granted("r1")
            machine.procs["redis"].signal(signal.SIGSTOP)
            await asyncio.sleep(2 * TTL_SECONDS)
            machine.procs["redis"].signal(signal.SIGCONT)
            async with opened.client("n1") as again:
                await again.receive("welcome")
                await again.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
                assert (await again.receive("renewed", "r1")).token == lease.token
