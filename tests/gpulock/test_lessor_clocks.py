"""The lessor's promises when the store's clock is set forward or back."""

from __future__ import annotations

import pytest

from tests.gpulock.conftest import STORE, House


@pytest.mark.parametrize("seconds", [3600.0, 86_400.0, -3600.0])
async def test_a_step_of_the_clock_takes_no_lease(house: House, seconds: float) -> None:
    """Redis's clock may step by hours either way: no lease is lost to it, and one that is silent afterwards still ends in time."""
    a = await house.replica()
    await a.ask("r1")
    await house.after(10)
    house.clocks.step_seconds(seconds)
    await a.renew("r1")
    await house.after(1)
    assert "lost" not in a.kinds("r1")
    await house.after(298)
    assert "lost" not in a.kinds("r1")
    await house.after(4)
    assert a.said("r1")[-1].kind == "lost"


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
@pytest.mark.parametrize("early", [True, False])
async def test_a_step_of_the_clock_shortens_no_recovery(house: House, seconds: float, early: bool) -> None:
    """Whether the clock steps before the store's loss is noticed or after, nothing is granted until the window is over."""
    a = await house.replica(recovery_window_seconds=100.0)
    await house.after(5)
    if early:
        house.clocks.step_seconds(seconds)
    house.redis.flushdb()
    await a.ask("r1", max_wait_seconds=10_000)
    if not early:
        house.clocks.step_seconds(seconds)
    await house.after(1)
    await house.after(98)
    assert a.kinds("r1") == ["queued"]
    await house.after(3)
    assert a.kinds("r1") == ["queued", "granted"]


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
@pytest.mark.parametrize("early", [True, False])
async def test_a_step_of_the_clock_shortens_no_quarantine(house: House, seconds: float, early: bool) -> None:
    """A revoked lease's memory stays back for as long as its holder may go on, whenever the clock steps."""
    a = await house.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=10_000)
    await house.after(0.5)
    if early:
        house.clocks.step_seconds(seconds)
    await a.lessor.force_release("r1", "default", "", "test")
    if not early:
        house.clocks.step_seconds(seconds)
    await house.after(0.5)
    await house.after(303)
    assert a.kinds("r2") == ["queued"]
    await house.after(3)
    assert a.kinds("r2") == ["queued", "granted"]


@pytest.mark.parametrize("late", ["asked", "heard"])
async def test_a_sweep_that_was_held_up_is_no_step(house: House, late: str) -> None:
    """One replica's sweep waits for seconds before Redis runs it, or its answer before it is read.

    It may take them for a step of the clock, once. The other, which has seen them pass, undoes nothing, and a silent holder loses
    its lease.
    """
    a, b = await house.replica("a"), await house.replica("b")
    await a.ask("r1")
    await house.after(2)
    house.clocks.pass_seconds(2)
    boot = house.clocks.boot_seconds
    if late == "asked":
        house.clocks.pass_seconds(4)
    clock, reads = a.lessor._boot_clock, iter([boot, boot + 4])
    a.lessor._boot_clock = lambda: next(reads)
    await a.lessor.sweep()
    a.lessor._boot_clock = clock
    house.clocks.boot_seconds = boot + 4
    if late == "heard":
        house.clocks.wall_us += 4_000_000
    steps = []
    for _ in range(160):
        house.clocks.pass_seconds(2)
        steps += [(await one.lessor.sweep()).step_seconds for one in (a, b)]
    assert [step for step in steps if step] in ([], [4.0])
    assert "r1" not in await a.leases()


async def test_a_step_that_was_undone_and_forgotten_is_undone_again(house: House) -> None:
    """A fail-over to a dataset from before the clock was set back, its correction lost: time does not stand still."""
    a = await house.replica()
    await a.ask("r1")
    past = {key: house.redis.dump(key) for key in house.redis.keys(f"{STORE}*")}
    house.clocks.step_seconds(-86400)
    await house.after(1)
    for key, payload in past.items():
        house.redis.restore(key, 0, payload, replace=True)
    house.restart_redis()
    for _ in range(5):
        await house.after(200)
    assert await a.leases() == {}


async def test_a_step_and_its_undoing_between_two_sweeps(house: House) -> None:
    """Redis's clock goes an hour ahead and is back before anybody looks: no lease is lost, and time goes on."""
    a = await house.replica()
    await a.ask("r1")
    await house.after(1)
    house.clocks.step_seconds(3600)
    await a.ask("r2", max_wait_seconds=7200)
    house.clocks.step_seconds(-3600)
    await house.after(1)
    assert (await a.leases())["r1"].state == "G"
    await house.after(310)
    await house.after(10)
    assert set(await a.leases()) == {"r2"}


async def test_tokens_rise_across_data_loss_and_a_step_back(house: House) -> None:
    """A store that has lost everything and whose clock went back still gives a larger token, because the replica remembers."""
    a = await house.replica()
    await a.ask("r1")
    before = a.lease("r1").token
    house.redis.flushdb()
    house.clocks.step_seconds(-86_400)
    assert await a.ask("r2") == "queued"
    await house.after(1)
    await house.after(400)
    assert a.kinds("r2")[-1] in ("granted", "timeout")
    await a.ask("r3")
    assert a.lease("r3").token > before


async def test_tokens_rise_although_a_small_step_back_goes_unnoticed(house: House) -> None:
    """After a step that is taken for time that passed, and data loss, tokens still rise: the replica remembers the last one."""
    a = await house.replica(recovery_window_seconds=0.5, clock_slack_seconds=1.0)
    await house.after(5)
    await a.ask("r1")
    before = a.lease("r1").token
    house.redis.flushdb()
    house.clocks.step_seconds(-0.9)
    await a.ask("r2")
    await house.after(0.3)
    await house.after(0.3)
    assert a.kinds("r2") == ["queued", "granted"]
    assert house.clocks.wall_us < before < a.lease("r2").token
