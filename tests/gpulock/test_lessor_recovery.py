"""The lessor's promises after its store has forgotten, or was restarted: recovery, reclaiming, and whose lease wins."""

from __future__ import annotations

from typing import Any

from gpulock.lease.message import Client
from leases.ask import Ask
from tests.gpulock.conftest import STORE, Harness


def client(request_id: str) -> Client:
    """The client that a replica's `ask` uses."""
    return Client(f"client-{request_id}")


async def test_nothing_is_granted_before_a_recovery_has_run(harness: Harness) -> None:
    """After a restart that kept the data, beats go on, nothing is granted or taken for the window, then all goes on."""
    a = await harness.replica(recovery_window_seconds=20.0)
    await a.ask("r1")
    await a.ask("r2")
    epoch = a.lessor.epoch
    harness.restart_redis()
    await a.release("r1")
    assert a.lessor.epoch > epoch
    assert a.epochs[-1] == (a.lessor.epoch, 20.0)
    assert a.kinds("r2") == ["queued"]
    await harness.after(19)
    assert a.kinds("r2") == ["queued"]
    await harness.after(2)
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_forgotten_lease_is_reclaimed(harness: Harness) -> None:
    """A store without memory waits, believes the holder about its lease, and grants with a larger token afterwards."""
    a = await harness.replica(recovery_window_seconds=20.0)
    await a.ask("r1", memory_mib=20_000)
    lease = a.lease("r1")
    harness.redis.flushdb()
    assert (await a.renew("r1")).kind == "reclaim"
    message = await a.lessor.reclaim(
        client("r1"), Ask("r1", memory_mib=20_000), lease.token, ["gpu-0"], lease.granted_us
    )
    assert message.kind == "renewed"
    assert await a.ask("r2", memory_mib=20_000) == "queued"
    await harness.after(21)
    assert a.kinds("r2") == ["queued"]
    assert await a.memory() == {"gpu-0": (20_000, 0)}
    await a.release("r1", token=lease.token)
    assert a.lease("r2").token > lease.token


async def test_who_comes_too_late_has_lost_its_lease(harness: Harness) -> None:
    """After the window a lease that is not on record is gone: somebody else may have had the device since."""
    a = await harness.replica(recovery_window_seconds=20.0)
    await a.ask("r1")
    lease = a.lease("r1")
    harness.redis.flushdb()
    await harness.after(1)
    await harness.after(21)
    message = await a.lessor.reclaim(client("r1"), Ask("r1"), lease.token, ["gpu-0"], lease.granted_us)
    assert message.kind == "lost"
    assert (await a.renew("r1")).kind == "lost"


async def test_of_two_holders_after_a_stale_failover_the_later_wins(harness: Harness) -> None:
    """A dataset that still shows an older holder yields to the later grant's token; the older is told that it lost."""
    a = await harness.replica(recovery_window_seconds=20.0)
    await a.ask("old")
    stale: tuple[Any, ...] = (
        harness.redis.dump(f"{STORE}req"),
        harness.redis.dump(f"{STORE}dl"),
        harness.redis.dump(f"{STORE}meta"),
    )
    old = a.lease("old")
    await a.release("old")
    await a.ask("new")
    new = a.lease("new")
    for name, payload in zip(("req", "dl", "meta"), stale, strict=True):
        harness.redis.restore(f"{STORE}{name}", 0, payload, replace=True)
    harness.restart_redis()
    message = await a.lessor.reclaim(client("new"), Ask("new"), new.token, ["gpu-0"], new.granted_us)
    assert message.kind == "renewed"
    assert a.said("old")[-1].kind == "lost"
    assert a.said("old")[-1].detail == "superseded"
    again = await a.lessor.reclaim(client("old"), Ask("old"), old.token, ["gpu-0"], old.granted_us)
    assert again.kind == "lost"


async def test_of_two_who_reclaim_one_device_the_later_grant_wins(harness: Harness) -> None:
    """In a store without memory a holder with an older token than another's is told that it has lost, whoever comes first."""
    a = await harness.replica(recovery_window_seconds=20.0)
    await a.ask("old")
    old = a.lease("old")
    await a.release("old")
    await a.ask("new")
    new = a.lease("new")
    harness.redis.flushdb()
    message = await a.lessor.reclaim(client("new"), Ask("new"), new.token, ["gpu-0"], new.granted_us)
    assert message.kind == "renewed"
    message = await a.lessor.reclaim(client("old"), Ask("old"), old.token, ["gpu-0"], old.granted_us)
    assert (message.kind, message.detail) == ("lost", "superseded")
    assert "lost" not in a.kinds("new")
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_a_reclaimed_token_is_a_floor_for_all_that_follow(harness: Harness) -> None:
    """When store and replicas have forgotten all and the clock is a day behind, the holders' tokens keep new ones above."""
    a = await harness.replica("a")
    await a.ask("r1")
    lease = a.lease("r1")
    del harness.replicas["a"]
    harness.redis.flushdb()
    harness.clocks.step_seconds(-86_400)
    b = await harness.replica("b", initial_state="existing", recovery_window_seconds=20.0)
    message = await b.lessor.reclaim(client("r1"), Ask("r1"), lease.token, ["gpu-0"], lease.granted_us)
    assert message.kind == "renewed"
    await harness.after(21)
    await b.release("r1", token=lease.token)
    assert await b.ask("r2") == "granted"
    assert b.lease("r2").token > lease.token


async def test_an_empty_store_waits_unless_told_that_nothing_runs(harness: Harness) -> None:
    """With initial_state `existing` a replica that finds an empty store takes it for one that has lost its memory."""
    a = await harness.replica(initial_state="existing", recovery_window_seconds=20.0)
    assert await a.ask("r1") == "queued"
    await harness.after(21)
    assert a.kinds("r1") == ["queued", "granted"]
