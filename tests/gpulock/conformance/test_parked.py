"""Models that stay on a device between tasks, and work that agreed to give way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpulock.conformance.conftest import StartArbiter
from yivideo.gpulock.v1 import lock_pb2


async def test_a_parked_lease_is_taken_over_without_a_gap(start: StartArbiter) -> None:
    """The next task of the same client has the devices with a new token, and says that it is warm; the old lease has ended."""
    client = await (await start()).client()
    old = await client.parked("w1")
    lease = await client.granted("t2", warm_request_id="w1")
    assert lease.warm
    assert lease.devices == old.devices
    assert lease.token > old.token
    assert await client.ask("w1") == "released"


async def test_nobody_comes_between(start: StartArbiter) -> None:
    """A task that waits for a model in use takes it over when that is parked."""
    client = await (await start()).client()
    old = await client.granted("w1")
    assert await client.ask("t2", warm_request_id="w1") == "queued"
    await client.park(old)
    assert (await client.lease("t2")).warm


async def test_those_before_it_come_first(start: StartArbiter) -> None:
    """A task that wants a model waits for its turn; whoever stands before it has the model unloaded."""
    bench = await start()
    client, other = await bench.client(), await bench.client("n2")
    old = await client.granted("w1")
    await other.ask("r2")
    await client.ask("t3", warm_request_id="w1")
    await client.park(old)
    assert (await client.said(lock_pb2.Stop, "w1")).reason == lock_pb2.STOP_REASON_PREEMPTED
    await client.release(old)
    await other.release(await other.lease("r2"))
    assert not (await client.lease("t3")).warm


async def test_a_wish_may_change(start: StartArbiter) -> None:
    """A request that is repeated with another lease wants that one from then on."""
    client = await (await start()).client()
    old = await client.granted("w1")
    await client.ask("t2")
    await client.ask("t2", warm_request_id="w1")
    await client.park(old)
    assert (await client.lease("t2")).warm


@pytest.mark.parametrize("wants", ["of another client", "not parked", "on another device", "fewer devices"])
async def test_what_is_not_taken_over(start: StartArbiter, wants: str) -> None:
    """A lease that is not the client's, is in use, or is not what was asked for, is left alone."""
    bench = await start(devices=2)
    client, other = await bench.client(), await bench.client("n2")
    owner = other if wants == "of another client" else client
    old = await owner.granted("w1", device="gpu-0", memory_mib=1_000)
    if wants != "not parked":
        await owner.park(old)
    by_wish: dict[str, dict[str, Any]] = {
        "on another device": {"device": "gpu-1"},
        "fewer devices": {"device_count": 2},
    }
    fields = by_wish.get(wants, {})
    lease = await client.granted("t2", memory_mib=1_000, warm_request_id="w1", **fields)
    assert not lease.warm
    assert await owner.ask("w1") == "granted"


async def test_parking_less_memory_frees_the_rest(start: StartArbiter) -> None:
    """A model that idles in less memory than its task had gives the rest to who waits for it."""
    client = await (await start()).client()
    old = await client.granted("w1")
    assert await client.ask("r2", memory_mib=20_000) == "queued"
    await client.park(old, memory_mib=4_000)
    await client.lease("r2")
    await client.settled()
    assert "stop" not in client.kinds("w1")


async def test_a_parked_model_gives_way(start: StartArbiter) -> None:
    """When a request needs the memory the holder is asked, once; then no task takes it over, and its release serves the request."""
    bench = await start()
    client, other = await bench.client(), await bench.client("n2")
    old = await client.parked("w1")
    assert await other.ask("r2") == "queued"
    stop = await client.said(lock_pb2.Stop, "w1")
    assert (stop.reason, stop.token) == (lock_pb2.STOP_REASON_PREEMPTED, old.token)
    assert stop.grace_seconds > 0
    assert await other.ask("r3") == "queued"
    assert await client.ask("t4", warm_request_id="w1") == "queued"
    await client.settled()
    assert sum(message.HasField("stop") for message in client.messages) == 1
    await client.release(old)
    await other.lease("r2")


async def test_only_as_many_models_give_way_as_are_needed(start: StartArbiter) -> None:
    """Of two parked models one goes, and the other when another request needs it."""
    client = await (await start(devices=2)).client()
    await client.parked("w1", device="gpu-0")
    await client.parked("w2", device="gpu-1")
    for asked in (1, 2):
        await client.ask(f"r{asked}")
        await client.settled()
        assert sum(message.HasField("stop") for message in client.messages) == asked


async def test_the_model_that_idles_longest_goes(start: StartArbiter) -> None:
    """Of two models on one device the one that was parked first is asked, when that is enough."""
    client = await (await start()).client()
    one = await client.granted("w1", memory_mib=10_000)
    two = await client.granted("w2", memory_mib=10_000)
    await client.park(two)
    await client.park(one)
    await client.ask("r3", memory_mib=12_000)
    await client.said(lock_pb2.Stop, "w2")
    await client.settled()
    assert "stop" not in client.kinds("w1")


async def test_a_model_that_does_not_give_way_is_revoked(start: StartArbiter) -> None:
    """A parked lease whose holder ignores the request to yield is lost after the time it had for it, and then in quarantine."""
    bench = await start(yield_seconds=0.02)
    client, other = await bench.client(), await bench.client("n2")
    old = await client.parked("w1")
    await other.ask("r2")
    assert (await client.said(lock_pb2.Lost, "w1")).reason == lock_pb2.STOP_REASON_PREEMPTED
    await other.settled()
    assert other.kinds("r2") == ["queued"]
    client.send(confirm=lock_pb2.Confirm(request_id="w1", token=old.token))
    await other.lease("r2")


async def test_work_gives_way_only_where_it_agreed_to(start: StartArbiter) -> None:
    """A preemptible task is asked to stop for one that is not, or is of higher priority; two equal ones do not chase each other."""
    client = await (await start()).client()
    await client.granted("p1", preemptible=True)
    await client.ask("p2", preemptible=True)
    await client.settled()
    assert "stop" not in client.kinds("p1")
    await client.ask("p3", preemptible=True, priority=1)
    assert (await client.said(lock_pb2.Stop, "p1")).reason == lock_pb2.STOP_REASON_PREEMPTED


async def test_what_is_freed_for_one_is_not_taken_by_another(start: StartArbiter) -> None:
    """Memory that a model was asked to give up for a waiter goes to that waiter, although smaller ones wait behind it."""
    client = await (await start()).client()
    old = await client.parked("w1", memory_mib=12_000)
    assert await client.ask("large", memory_mib=20_000) == "queued"
    assert await client.ask("small", memory_mib=8_000) == "queued"
    await client.release(old)
    await client.lease("large")
    assert client.kinds("small") == ["queued"]


@pytest.mark.parametrize("how", ["release", "confirm"])
async def test_a_warm_grant_that_was_taken_back(start: StartArbiter, how: str) -> None:
    """When a cancellation crosses a warm grant the model is still on the device: its memory is free when the old lease's
    holder says that it is gone, and not before.
    """
    bench = await start()
    client, other = await bench.client(), await bench.client("n2")
    old = await client.parked("w1")
    await client.granted("t2", warm_request_id="w1")
    await client.cancel("t2")
    assert await other.ask("r3") == "queued"
    if how == "release":
        client.send(release=lock_pb2.Release(request_id="w1", token=old.token))
    else:
        client.send(confirm=lock_pb2.Confirm(request_id="w1", token=old.token))
    await other.lease("r3")
