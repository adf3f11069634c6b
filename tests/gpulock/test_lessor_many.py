"""Thousands of waiters: no script is too long to be run, and nobody stands so far behind that it is not seen."""

from __future__ import annotations

import asyncio
from typing import Any

from gpulock.lease.message import Client
from leases.ask import Ask
from tests.gpulock.conftest import GPU0, GPU1, Harness, Replica

MANY = 4200
"""More waiters than Lua can spell out the new records of in one command."""


async def crowd(replica: Replica, count: int, **fields: Any) -> list[str]:
    """Let one client ask so often; gives the ids."""
    ids = [f"crowd-{number}" for number in range(count)]
    client = Client("client-crowd")
    await asyncio.gather(*[replica.lessor.acquire(client, Ask(one, **fields)) for one in ids])
    return ids


async def test_a_crowd_of_waiters_of_a_dead_replica(harness: Harness) -> None:
    """The sweep that finds a replica dead notes it of all of its waiters at once."""
    a = await harness.replica("a", replica_ttl_seconds=15.0, waiter_grace_seconds=10.0)
    b = await harness.replica("b", replica_ttl_seconds=15.0, waiter_grace_seconds=10.0)
    await b.ask("r1")
    await crowd(a, MANY)
    await b.ask("r2")
    del harness.replicas["a"]
    await harness.after(16)
    await b.release("r1")
    assert b.kinds("r2") == ["queued", "granted"]


async def test_a_crowd_that_leaves_at_once(harness: Harness) -> None:
    """A client with thousands of waiters goes: whoever stands behind them is served at once."""
    a = await harness.replica()
    await a.ask("r1")
    ids = await crowd(a, MANY)
    await a.ask("r2")
    await a.lessor.detach(Client("client-crowd"), ids)
    await a.release("r1")
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_device_does_not_idle_behind_a_crowd(harness: Harness) -> None:
    """Whoever could use a free device is found within seconds, however many stand before it who could not."""
    a = await harness.replica(devices=(GPU0, GPU1))
    await a.ask("r1", device="gpu-0")
    await a.ask("r2", device="gpu-1")
    await crowd(a, 300, device="gpu-0")
    await a.ask("r3", device="gpu-1")
    await a.release("r2")
    await harness.after(5)
    assert a.kinds("r3") == ["queued", "granted"]
