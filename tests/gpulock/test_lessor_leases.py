"""The lessor's promises about a lease's life, one law a test: beats, revocation, quarantine, graded timeouts, tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from gpulock import metrics
from gpulock.lease.message import Client
from gpulock.store.record import to_record
from gpulock.store.script_store import text
from tests.gpulock.conftest import STORE, Harness


async def test_a_renewal_sets_the_ttl(harness: Harness) -> None:
    """A beat gives the lease one TTL from now, however often it comes."""
    a = await harness.replica()
    await a.ask("r1")
    for _ in range(5):
        harness.clocks.pass_seconds(1)
        await a.renew("r1")
    assert a.lease("r1").expires_us - harness.clocks.wall_us == 300_000_000


async def test_a_silent_holder_is_revoked_and_quarantined(harness: Harness) -> None:
    """A lease without beats is lost at its TTL; the next is granted only a lock delay later, with a larger token."""
    a = await harness.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=1000)
    await harness.after(301)
    assert a.said("r1")[-1].kind == "lost"
    assert a.said("r1")[-1].detail == "heartbeat"
    assert await a.memory() == {"gpu-0": (0, 24_000)}
    assert a.kinds("r2") == ["queued"]
    await harness.after(6)
    assert a.kinds("r2") == ["queued", "granted"]
    assert a.lease("r2").token > a.lease("r1").token
    assert (await a.renew("r1")).kind == "lost"


async def test_a_confirmed_end_frees_at_once(harness: Harness) -> None:
    """A holder that has killed its work says so, and the next is granted in that step."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.force_release("r1", "default", "", "operator")
    assert a.said("r1")[-1].detail == "forced"
    assert a.kinds("r2") == ["queued"]
    token = a.lease("r1").token
    assert (await a.lessor.confirm(Client("client-r1"), "r1", token)).kind == "confirmed"
    assert a.kinds("r2") == ["queued", "granted"]
    assert (await a.lessor.confirm(Client("client-r1"), "r1", token)).kind == "confirmed"


async def test_what_is_revoked_is_counted_once(harness: Harness) -> None:
    """A revoked lease that its holder, who has not heard of it, gives back counts as revoked, recovered and held, each once."""
    a = await harness.replica()

    def counted() -> list[float]:
        figures: tuple[Any, ...] = (
            metrics.RELEASES.labels("forced"),
            metrics.RELEASES.labels("normal"),
            metrics.HOLD_SECONDS,
        )
        return [sum(one.value for one in figure.collect()[0].samples if one.name.endswith(("_total", "_count")))
                for figure in figures]  # fmt: skip

    before = counted()
    await a.ask("r1")
    await a.lessor.force_release("r1", "default", "", "operator")
    await a.release("r1")
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 0, 1]
    for name in ("|recoveries", "default|revocations", "default|ended"):
        assert await a.figure(name) == "1"


async def test_the_history_says_why_a_holder_gave_back(harness: Harness) -> None:
    """A soft timeout has its reason in the history; who gave up unasked, because no beat was answered, has not been stopped."""
    a = await harness.replica(
        configuration={
            "gpu_lock_monitor.timeout_levels.warning": "30",
            "gpu_lock_monitor.timeout_levels.soft_timeout": "60",
        }
    )
    await a.ask("r1")
    await harness.after(61)
    await a.lessor.release(Client("client-r1"), "r1", a.lease("r1").token, "stopped")
    await a.ask("r2")
    await a.lessor.release(Client("client-r2"), "r2", a.lease("r2").token, "stopped")
    told = (await a.lessor.history("", 10)).results[0]
    assert [(text(reason), to_record(fields).detail) for fields, _, reason, _ in told] == [
        ("heartbeat", "its holder could not renew it in time"),
        ("stopped", "held for longer than the soft timeout"),
    ]


async def test_a_holder_that_ignores_revocation(harness: Harness) -> None:
    """A forced lease whose holder says nothing is granted again when it would have run out, and a lock delay later."""
    a = await harness.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=1000)
    await a.lessor.force_release("", "default", "gpu-0", "operator")
    await harness.after(304)
    assert a.kinds("r2") == ["queued"]
    assert (await a.renew("r1")).kind == "lost"
    await harness.after(2)
    assert a.kinds("r2") == ["queued", "granted"]


async def test_without_auto_recovery_an_operator_frees(harness: Harness) -> None:
    """With auto_recovery off a silent holder's memory stays back until somebody releases it, whose reason the history keeps."""
    a = await harness.replica(configuration={"gpu_lock_monitor.auto_recovery": "false"})
    await a.ask("r1")
    await harness.after(301)
    await harness.after(10_000)
    assert await a.memory() == {"gpu-0": (0, 24_000)}
    assert "r1" in await a.leases()
    for _ in range(2):
        await a.lessor.force_release("r1", "default", "", "looked at the machine")
    await harness.after(1)
    assert await a.memory() == {"gpu-0": (0, 0)}
    told = [
        (text(reason), to_record(fields).detail)
        for fields, _, reason, _ in (await a.lessor.history("", 9)).results[0]
    ]
    assert told[0] == ("forced", "looked at the machine") and [reason for reason, _ in told] == [
        "forced",
        "heartbeat",
    ]


async def test_graded_timeouts(harness: Harness) -> None:
    """A holder is warned, then asked to stop, then revoked, each once, while it beats."""
    a = await harness.replica(
        configuration={
            "gpu_lock_monitor.timeout_levels.warning": "30",
            "gpu_lock_monitor.timeout_levels.soft_timeout": "60",
            "gpu_lock_monitor.timeout_levels.hard_timeout": "120",
        }
    )
    await a.ask("r1")
    for _ in range(13):
        await harness.after(10)
        await a.renew("r1")
    told = [(w.kind, w.detail) for w in a.said("r1") if w.kind in ("warning", "stop", "lost")]
    assert [kind for kind, _ in told][:3] == ["warning", "stop", "lost"]
    assert told[1][1] == "soft_timeout"
    assert told[2][1] == "hard_timeout"


async def test_graded_timeouts_can_be_switched_off(harness: Harness) -> None:
    """With gpu_lock_monitor.enabled false a beating holder is left alone."""
    a = await harness.replica(configuration={"gpu_lock_monitor.enabled": "false"})
    await a.ask("r1")
    for _ in range(40):
        await harness.after(200)
        await a.renew("r1")
    assert set(a.kinds("r1")) == {"granted", "renewed"}


async def test_settings_change_what_is_held_already(harness: Harness) -> None:
    """A shorter heartbeat timeout applies to leases granted before it; older settings change nothing."""
    a = await harness.replica()
    await a.ask("r1")
    values = {"gpu_lock_monitor.heartbeat.interval": "5", "gpu_lock_monitor.heartbeat.timeout": "15"}
    changed = a.lessor.configuration.changed(values)
    await a.lessor.configure(changed, 2)
    b = await harness.replica("b")  # starts with the old ones
    await harness.after(16)
    assert a.said("r1")[-1].kind == "lost"
    assert b.kinds("r1") == []


async def test_a_shorter_life_is_believed_by_nobody_who_has_not_heard_of_it(harness: Harness) -> None:
    """A holder whose beat was answered with a shorter life may not have had the answer: its device stays back for the longer."""
    a = await harness.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=10_000)
    values = {"gpu_lock_monitor.heartbeat.interval": "5", "gpu_lock_monitor.heartbeat.timeout": "15"}
    await a.lessor.configure(a.lessor.configuration.changed(values), 2)
    await a.renew("r1")
    await harness.after(16)
    assert a.said("r1")[-1].kind == "lost"
    await harness.after(288)
    assert a.kinds("r2") == ["queued"]
    await harness.after(2)
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_wrong_token_does_nothing(harness: Harness) -> None:
    """Release, renewal, parking and confirmation under another token than the lease's are refused and counted."""
    a = await harness.replica()
    await a.ask("r1")
    wrong = a.lease("r1").token - 1
    assert (await a.release("r1", token=wrong)).detail == "GPU_LEASE_STALE"
    assert (await a.renew("r1", token=wrong)).detail == "GPU_LEASE_STALE"
    assert (await a.lessor.park(Client("c"), "r1", wrong, "m", 0, 0)).detail == "GPU_LEASE_STALE"
    assert (await a.lessor.confirm(Client("c"), "r1", wrong)).detail == "GPU_LEASE_STALE"
    assert await a.memory() == {"gpu-0": (24_000, 0)}
    assert await a.figure("default|stale") == "4"


async def test_the_sweep_looks_for_what_lives_only(harness: Harness) -> None:
    """A request stands among the deadlines once while it waits or holds, and not at all when it has ended."""
    a = await harness.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    assert sorted(harness.redis.zrange(f"{STORE}dl", 0, -1)) == [b"lr1", b"wr2", b"wr3"]
    await a.lessor.cancel(Client("client-r3"), "r3")
    await a.release("r1")
    assert harness.redis.zrange(f"{STORE}dl", 0, -1) == [b"lr2"]
    await a.lessor.force_release("r2", "", "", "an operator's wish")
    await a.lessor.confirm(Client("client-r2"), "r2", a.lease("r2").token)
    assert harness.redis.zcard(f"{STORE}dl") == 0


async def test_a_lease_ends_once_in_the_figures(harness: Harness) -> None:
    """A holder that answers its revocation by giving the lease back has not ended another one."""

    def ended(reason: str) -> float:
        return float(metrics.RELEASES.labels(reason)._value.get())

    a = await harness.replica()
    await a.ask("r1")
    before = ended("forced"), ended("normal")
    await a.lessor.force_release("r1", "default", "", "fan")
    await a.release("r1")
    await asyncio.sleep(0)  # in which books are kept
    assert (ended("forced"), ended("normal")) == (before[0] + 1, before[1])


async def test_a_released_lease_is_gone(harness: Harness) -> None:
    """A second release is harmless, and the lease cannot be renewed."""
    a = await harness.replica()
    await a.ask("r1")
    await a.release("r1")
    await a.ask("r2")
    assert (await a.release("r1")).kind == "released"
    assert (await a.renew("r1")).kind == "lost"
    assert await a.memory() == {"gpu-0": (24_000, 0)}
