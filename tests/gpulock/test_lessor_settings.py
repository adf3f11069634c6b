"""Devices, pools and settings that change while somebody holds or waits."""

from __future__ import annotations

from gpulock.settings import DeviceSection
from tests.gpulock.conftest import GPU0, Harness

ASR = DeviceSection(name="asr-0", pool="asr", memory_mib=8000)


async def test_a_pool_that_is_gone_holds_nothing_up(harness: Harness) -> None:
    """A lease and a waiter of a pool that no replica knows any more end in time, and so do those of the other pools."""
    a = await harness.replica("a", devices=(GPU0, ASR))
    await a.ask("old", pool="asr")
    await a.ask("late", pool="asr", max_wait_seconds=20)
    del harness.replicas["a"]
    b = await harness.replica("b", devices=(GPU0,))
    await b.ask("r1")
    await b.ask("r2", max_wait_seconds=1000)
    await harness.after(310)
    leases = await b.leases()
    assert {name: lease.state for name, lease in leases.items()} == {"old": "X", "r1": "X"}
    await harness.after(10)
    assert list(await b.leases()) == ["r2"]
    assert b.kinds("r2") == ["queued", "granted"]
