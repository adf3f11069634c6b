"""The lessor's promises to those who ask and wait, one law a test: refusals, repetition, cancelling, absence, drain."""

from __future__ import annotations

import asyncio

import pytest

from gpulock.lease.message import Client
from gpulock.settings import DeviceSection
from gpulock.store.keys import Keys
from leases.ask import Ask
from tests.gpulock.conftest import GPU0, GPU1, PREFIX, Harness


async def test_impossible_requests_are_refused_at_once(harness: Harness) -> None:
    """What no device of the pool can ever give is refused, saying why."""
    small = DeviceSection(name="small", memory_mib=8_000, pool="other", host="h1")
    a = await harness.replica(devices=(GPU0, GPU1, small))
    for fields, code in (
        ({"memory_mib": 24_001}, "GPU_NEVER_FITS"),
        ({"device_count": 3}, "GPU_NEVER_FITS"),
        ({"device": "gpu-0", "device_count": 2}, "GPU_NEVER_FITS"),
        ({"pool": "none"}, "GPU_POOL_UNKNOWN"),
        ({"device": "small"}, "GPU_DEVICE_UNKNOWN"),
        ({"pool": "other", "host": "h2"}, "GPU_NEVER_FITS"),
    ):
        assert await a.ask("r", **fields) == "refused", fields
        assert a.messages[-1].detail == code, fields
    assert await a.ask("r", pool="other", host="h1") == "granted"


async def test_a_full_queue_refuses(harness: Harness) -> None:
    """The waiter past the limit is refused, and the same request is welcome later."""
    a = await harness.replica(max_waiters=1)
    await a.ask("r1")
    await a.ask("r2")
    assert await a.ask("r3") == "refused"
    assert a.messages[-1].detail == "GPU_QUEUE_FULL"
    await a.release("r1")
    assert await a.ask("r3") == "queued"


async def test_asking_twice_is_asking_once(harness: Harness) -> None:
    """A repeated request keeps its place, and one that was granted is told its lease again."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    assert await a.ask("r2") == "queued"
    assert await a.order() == ["r2", "r3"]
    await a.ask("r1")
    first, second = a.said("r1", "granted")
    assert first.token == second.token
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_an_id_is_one_clients(harness: Harness) -> None:
    """A second client is not told another's lease nor takes its place, at no replica; one whose client is away is taken over."""
    a, b = await harness.replica("a"), await harness.replica("b")
    await a.ask("r1", "n1")
    await a.ask("r2", "n1")
    for replica in (a, b):
        for request_id in ("r1", "r2"):
            assert await replica.ask(request_id, "n2") == "refused"
            assert replica.messages[-1].detail == "GPU_REQUEST_TAKEN"
    await a.lessor.detach(Client("n1"), ["r2"])
    assert await b.ask("r2", "n2") == "queued"
    await a.release("r1")
    await harness.carry()
    assert b.kinds("r2")[-1] == "granted"


async def test_a_repeated_request_moves_to_the_replica_that_hears_it(harness: Harness) -> None:
    """A waiter that asks again at another replica keeps its place and is granted there."""
    a = await harness.replica("a")
    b = await harness.replica("b")
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    assert await b.ask("r2") == "queued"
    await a.release("r1")
    await harness.carry()
    assert b.kinds("r2") == ["queued", "granted"]
    assert a.kinds("r2") == ["queued"]


async def test_a_replica_does_not_fetch_back_who_has_gone_on_elsewhere(harness: Harness) -> None:
    """A replica that was frozen asks again for its waiters: those whose client is at another one by now stay there."""
    a, b = await harness.replica("a"), await harness.replica("b")
    await b.ask("r1")
    await a.ask("r2")
    await b.ask("r2")
    await a.lessor.acquire(Client("client-r2"), Ask("r2"), again=True)
    await b.release("r1")
    await harness.carry()
    assert b.kinds("r2")[-1] == "granted"
    assert await a.lessor.acquire(Client("client-r2"), Ask("r2"), again=True) is None
    assert "granted" not in a.kinds("r2")


async def test_an_ended_request_is_told_how_it_ended(harness: Harness) -> None:
    """For a minute after its end a repeated request gets the end; then the id is free."""
    a = await harness.replica()
    await a.ask("r1")
    await a.release("r1")
    assert await a.ask("r1") == "released"
    await harness.after(61)
    assert await a.ask("r1") == "granted"


async def test_max_wait(harness: Harness) -> None:
    """A wait ends at its own limit, or at the service's; only a sweep ends it."""
    a = await harness.replica(configuration={"gpu_lock.max_wait_time": "300"})
    await a.ask("r1")
    await a.ask("short", max_wait_seconds=5)
    await a.ask("long")
    await harness.after(6)
    assert a.kinds("short") == ["queued", "timeout"]
    await a.renew("r1")
    await harness.after(295)
    assert a.kinds("long") == ["queued", "timeout"]


async def test_the_shortest_wait_ends(harness: Harness) -> None:
    """What is left of somebody's time limit may be less than a microsecond: that is not a wait without an end."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=1e-9)
    await harness.after(0.001)
    assert a.kinds("r2") == ["queued", "timeout"]


async def test_cancel_ends_a_wait(harness: Harness) -> None:
    """A cancelled waiter is gone, and those it held up go on."""
    a = await harness.replica()
    await a.ask("s1", memory_mib=10_000)
    await a.ask("large")
    await harness.after(1)
    await a.ask("s2", memory_mib=20_000)
    assert (await a.lessor.cancel(Client("c"), "large")).kind == "cancelled"
    await a.release("s1")
    assert a.kinds("s2") == ["queued", "granted"]
    assert (await a.lessor.cancel(Client("c"), "large")).kind == "cancelled"


async def test_cancel_of_a_blocking_head_serves_those_behind_it(harness: Harness) -> None:
    """When a head that keeps a device for itself goes, what fits behind it is granted in that step."""
    a = await harness.replica(backfill_seconds=0.0)
    await a.ask("s1", memory_mib=10_000)
    await a.ask("large")
    await a.ask("s2", memory_mib=1_000)
    await a.ask("s3", memory_mib=1_000)
    assert a.kinds("s3") == ["queued"]
    await a.lessor.cancel(Client("c"), "large")
    assert a.kinds("s3") == ["queued", "granted"]


async def test_cancel_that_crosses_a_grant_releases_it(harness: Harness) -> None:
    """Taking back a request that has just been granted gives the devices to the next."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.cancel(Client("c"), "r1")
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_lost_client_keeps_its_place_for_the_grace(harness: Harness) -> None:
    """A waiter whose stream is gone is not served, holds nobody up, and finds its place again when it is back in time."""
    a = await harness.replica(waiter_grace_seconds=10.0)
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    await a.lessor.detach(Client("client-r2"), ["r2"])
    await a.release("r1")
    assert a.kinds("r3") == ["queued", "granted"]
    await harness.after(9)
    await a.ask("r4")
    assert await a.ask("r2") == "queued"
    await a.release("r3")
    assert a.kinds("r2")[-1] == "granted"
    await a.lessor.detach(Client("client-r4"), ["r4"])
    await harness.after(11)
    assert await a.order() == []


async def test_a_late_detach_changes_nothing(harness: Harness) -> None:
    """The end of an old stream does not detach a waiter that has gone on at another replica, or with another client."""
    a, b = await harness.replica("a"), await harness.replica("b")
    await a.ask("r1")
    await a.ask("r2")
    await b.ask("r2", "client-r2")
    await a.lessor.detach(Client("client-r2"), ["r2"])
    await b.lessor.detach(Client("another"), ["r2"])
    await a.release("r1")
    await harness.carry()
    assert b.kinds("r2") == ["queued", "granted"]


async def test_who_comes_back_is_served_with_what_became_free(harness: Harness) -> None:
    """A device that nobody else wanted while a waiter was away is granted as soon as it is back."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.detach(Client("client-r2"), ["r2"])
    await a.release("r1")
    assert await a.ask("r2") == "granted"


async def test_waiters_of_a_dead_replica(harness: Harness) -> None:
    """When a replica dies its waiters are not served until they attach to another, and lose their places after the grace."""
    a = await harness.replica("a", replica_ttl_seconds=15.0, waiter_grace_seconds=10.0)
    b = await harness.replica("b", replica_ttl_seconds=15.0, waiter_grace_seconds=10.0)
    await b.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    await b.ask("r4")
    del harness.replicas["a"]
    await harness.after(16)
    assert await b.ask("r2") == "queued"
    await b.release("r1")
    await b.release("r2")
    assert b.kinds("r4")[-1] == "granted"
    await harness.after(11)
    assert await b.order() == []


async def test_the_inbox_of_a_dead_replica_goes_in_time(harness: Harness) -> None:
    """Words for a replica that is taken for dead are kept for a day; one that was only frozen has its inbox back."""
    a, b = [await harness.replica(name, replica_ttl_seconds=15.0) for name in "ab"]
    await b.ask("r1")
    await a.ask("r2")
    await b.release("r1")
    inbox = Keys(PREFIX, ()).inbox("a")
    assert harness.redis.ttl(inbox) == -1
    del harness.replicas["a"]
    await harness.after(16)
    assert 0 < harness.redis.ttl(inbox) <= 86400
    await a.lessor.sweep()
    assert harness.redis.ttl(inbox) == -1


async def test_drain(harness: Harness) -> None:
    """A drained device is granted no more, its holder goes on, and undoing it serves who waited."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.drain_device("default", "gpu-0", undo=False, reason="fan")
    await a.release("r1")
    assert a.kinds("r2") == ["queued"]
    assert await a.ask("r3") == "refused"
    assert a.messages[-1].detail == "GPU_DRAINING"
    await a.lessor.drain_device("default", "gpu-0", undo=True, reason="")
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_grant_reaches_its_client_though_who_made_way_has_gone(harness: Harness) -> None:
    """The release that is under way when its client's stream breaks is obeyed, and the waiter hears of its grant."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    release = asyncio.create_task(a.release("r1"))
    await asyncio.sleep(0)
    release.cancel()
    with pytest.raises(asyncio.CancelledError):
        await release
    assert await a.ask("r3") == "queued"  # its answer comes after the release's
    assert a.kinds("r2") == ["queued", "granted"]
