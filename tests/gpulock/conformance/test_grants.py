"""What is granted: whole devices and shares, one and several, with tokens that grow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpulock.conformance.arbiters import MIB
from tests.gpulock.conformance.conftest import StartArbiter
from yivideo.gpulock.v1 import lock_pb2


async def test_a_free_device_is_granted_at_once(start: StartArbiter) -> None:
    """A whole free device is granted in the answer: what of it, how the process must be shown it, and since when."""
    client = await (await start()).client()
    lease = await client.granted("r1", task_id="t1")
    (device,) = lease.devices
    assert (lease.pool, device.device, device.visible, device.memory_mib) == ("default", "gpu-0", "0", MIB)
    assert lease.grant_time.seconds > 1_700_000_000
    assert not lease.warm
    assert client.kinds("r1") == ["granted"]


async def test_tokens_grow(start: StartArbiter) -> None:
    """Each lease has a larger token than all before it, whoever holds it; the place of who waits is no lease."""
    bench = await start()
    one, two = await bench.client("n1"), await bench.client("n2")
    lease = await one.granted("r0")
    tokens = [lease.token]
    for number in range(1, 6):
        here, there = (two, one) if number % 2 else (one, two)
        assert await here.ask(f"r{number}") == "queued"
        await there.release(lease)
        lease = await here.lease(f"r{number}")
        tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"memory_mib": MIB + 1}, "GPU_NEVER_FITS", "memory_mib"),
        ({"device_count": 3}, "GPU_NEVER_FITS", "memory_mib"),
        ({"device": "gpu-0", "device_count": 2}, "GPU_NEVER_FITS", "memory_mib"),
        ({"pool": "none"}, "GPU_POOL_UNKNOWN", "pool"),
        ({"device": "gpu-9"}, "GPU_DEVICE_UNKNOWN", "device"),
    ],
)
async def test_the_impossible_is_refused_at_once(
    start: StartArbiter, fields: dict[str, Any], code: str, field: str
) -> None:
    """What no device can ever give is refused with its code and the field at fault, and leaves no record behind."""
    client = await (await start(devices=2)).client()
    assert await client.ask("r1", **fields) == "refused"
    refused = await client.said(lock_pb2.Refused, "r1")
    assert (refused.code, refused.field) == (code, field)
    assert refused.message
    await client.granted("r1")


async def test_memory_is_shared(start: StartArbiter) -> None:
    """Requests for memory share a device up to what it has, and never past it."""
    client = await (await start()).client()
    first = await client.granted("r1", memory_mib=10_000)
    assert first.devices[0].memory_mib == 10_000
    await client.granted("r2", memory_mib=14_000)
    assert await client.ask("r3", memory_mib=1) == "queued"
    await client.release(first)
    await client.lease("r3")


async def test_a_whole_device_is_nobody_elses(start: StartArbiter) -> None:
    """A request for a whole device waits until nobody is on it, and nobody joins it then."""
    client = await (await start(backfill_seconds=0.0)).client()
    share = await client.granted("share", memory_mib=1)
    assert await client.ask("whole") == "queued"
    await client.release(share)
    await client.lease("whole")
    assert await client.ask("late", memory_mib=1) == "queued"


async def test_devices_are_granted_together(start: StartArbiter) -> None:
    """A request for two devices gets both at one instant, in the order of configuration, or neither."""
    bench = await start(devices=2)
    client, other = await bench.client(), await bench.client("n2")
    first = await client.granted("r1", device="gpu-1")
    assert await client.ask("pair", device_count=2) == "queued"
    probe = await other.granted("probe", device="gpu-0")
    await other.release(probe)
    await client.release(first)
    assert [device.device for device in (await client.lease("pair")).devices] == ["gpu-0", "gpu-1"]
    assert await other.ask("late", memory_mib=1) == "queued"


async def test_the_device_that_was_named(start: StartArbiter) -> None:
    """A request that names a device waits for it though another is free."""
    client = await (await start(devices=2)).client()
    first = await client.granted("r1", device="gpu-1")
    assert first.devices[0].device == "gpu-1"
    assert await client.ask("r2", device="gpu-1") == "queued"
    assert (await client.granted("r3")).devices[0].device == "gpu-0"


async def test_best_fit(start: StartArbiter) -> None:
    """A small request goes where the least is left, so that large ones still fit."""
    client = await (await start(devices=2)).client()
    await client.granted("r1", device="gpu-1", memory_mib=20_000)
    small = await client.granted("small", memory_mib=4_000)
    assert small.devices[0].device == "gpu-1"
    await client.granted("whole")
