"""The lessor's promises when the store's clock is set forward or back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gpulock.conftest import STORE, Harness


@pytest.mark.parametrize("seconds", [3600.0, 86_400.0, -3600.0])
async def test_a_step_of_the_clock_takes_no_lease(harness: Harness, seconds: float) -> None:
    """Redis's clock may step by hours either way: no lease is lost to it, and one that is silent afterwards still ends in time."""
    a = await harness.replica()
    await a.ask("r1")
    await harness.after(10)
    harness.clocks.step_seconds(seconds)
    await a.renew("r1")
    await harness.after(1)
    assert "lost" not in a.kinds("r1")
    await harness.after(298)
    assert "lost" not in a.kinds("r1")
    await harness.after(4)
    assert a.said("r1")[-1].kind == "lost"


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
@pytest.mark.parametrize("early", [True, False])
async def test_a_step_of_the_clock_shortens_no_recovery(
    harness: Harness, seconds: float, early: bool
) -> None:
    """Whether the clock steps before the store's loss is noticed or after, nothing is granted until the window is over."""
    a = await harness.replica(recovery_window_seconds=100.0)
    await harness.after(5)
    if early:
        harness.clocks.step_seconds(seconds)
    harness.redis.flushdb()
    await a.ask("r1", max_wait_seconds=10_000)
    if not early:
        harness.clocks.step_seconds(seconds)
    await harness.after(1)
    await harness.after(98)
    assert a.kinds("r1") == ["queued"]
    await harness.after(3)
    assert a.kinds("r1") == ["queued", "granted"]


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
@pytest.mark.parametrize("early", [True, False])
async def test_a_step_of_the_clock_shortens_no_quarantine(
    harness: Harness, seconds: float, early: bool
) -> None:
    """A revoked lease's memory stays back for as long as its holder may go on, whenever the clock steps."""
    a = await harness.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=10_000)
    await harness.after(0.5)
    if early:
        harness.clocks.step_seconds(seconds)
    await a.lessor.force_release("r1", "default", "", "test")
    if not early:
        harness.clocks.step_seconds(seconds)
    await harness.after(0.5)
    await harness.after(303)
    assert a.kinds("r2") == ["queued"]
    await harness.after(3)
    assert a.kinds("r2") == ["queued", "granted"]


@pytest.mark.parametrize("late", ["asked", "heard"])
async def test_a_sweep_that_was_held_up_is_no_step(harness: Harness, late: str) -> None:
    """One replica's sweep waits for seconds before Redis runs it, or its answer before it is read.

    It may take them for a step of the clock, once. The other, which has seen them pass, undoes nothing, and a silent holder loses
    its lease.
    """
    a, b = await harness.replica("a"), await harness.replica("b")
    await a.ask("r1")
    await harness.after(2)
    harness.clocks.pass_seconds(2)
    boot = harness.clocks.boot_seconds
    if late == "asked":
        harness.clocks.pass_seconds(4)
    clock, reads = a.lessor._boot_clock, iter([boot, boot + 4])
    a.lessor._boot_clock = lambda: next(reads)
    await a.lessor.sweep()
    a.lessor._boot_clock = clock
    harness.clocks.boot_seconds = boot + 4
    if late == "heard":
        harness.clocks.wall_us += 4_000_000
    steps = []
    for _ in range(160):
        harness.clocks.pass_seconds(2)
        steps += [(await one.lessor.sweep()).step_seconds for one in (a, b)]
    assert [step for step in steps if step] in ([], [4.0])
    assert "r1" not in await a.leases()


async def test_a_step_that_was_undone_and_forgotten_is_undone_again(harness: Harness) -> None:
    """A fail-over to a dataset from before the clock was set back, its correction lost: time does not stand still."""
    a = await harness.replica()
    await a.ask("r1")
    past: dict[Any, Any] = {key: harness.redis.dump(key) for key in harness.redis.keys(f"{STORE}*")}
    harness.clocks.step_seconds(-86400)
    await harness.after(1)
    for key, payload in past.items():
        harness.redis.restore(key, 0, payload, replace=True)
    harness.restart_redis()
    for _ in range(5):
        await harness.after(200)
    assert await a.leases() == {}


async def test_a_step_and_its_undoing_between_two_sweeps(harness: Harness) -> None:
    """Redis's clock goes an hour ahead and is back before anybody looks: no lease is lost, and time goes on."""
    a = await harness.replica()
    await a.ask("r1")
    await harness.after(1)
    harness.clocks.step_seconds(3600)
    await a.ask("r2", max_wait_seconds=7200)
    harness.clocks.step_seconds(-3600)
    await harness.after(1)
    assert (await a.leases())["r1"].state == "G"
    await harness.after(310)
    await harness.after(10)
    assert set(await a.leases()) == {"r2"}


async def test_tokens_rise_across_data_loss_and_a_step_back(harness: Harness) -> None:
    """A store that has lost everything and whose clock went back still gives a larger token, because the replica remembers."""
    a = await harness.replica()
    await a.ask("r1")
    before = a.lease("r1").token
    harness.redis.flushdb()
    harness.clocks.step_seconds(-86_400)
    assert await a.ask("r2") == "queued"
    await harness.after(1)
    await harness.after(400)
    assert a.kinds("r2")[-1] in ("granted", "timeout")
    await a.ask("r3")
    assert a.lease("r3").token > before


async def test_tokens_rise_although_a_small_step_back_goes_unnoticed(harness: Harness) -> None:
    """After a step that is taken for time that passed, and data loss, tokens still rise: the replica remembers the last one."""
    a = await harness.replica(recovery_window_seconds=0.5, clock_slack_seconds=1.0)
    await harness.after(5)
    await a.ask("r1")
    before = a.lease("r1").token
    harness.redis.flushdb()
    harness.clocks.step_seconds(-0.9)
    await a.ask("r2")
    await harness.after(0.3)
    await harness.after(0.3)
    assert a.kinds("r2") == ["queued", "granted"]
    assert harness.clocks.wall_us < before < a.lease("r2").token
