"""The lessor's promises, one law a test, on a real Redis and clocks that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from gpulock.lessor import Ask, Client
from gpulock.settings import DeviceSection
from tests.gpulock.conftest import GPU0, GPU1, House


async def test_a_free_device_is_granted_at_once(house: House) -> None:
    """A whole free device is granted in the answer, with a token and a TTL."""
    a = await house.replica()
    assert await a.ask("r1") == "granted"
    lease = a.lease("r1")
    assert lease.devices == (("gpu-0", 24_000),)
    assert lease.expires_us - house.clocks.wall_us == 300_000_000
    assert lease.token >= house.clocks.wall_us


async def test_a_release_grants_to_the_next_in_the_same_step(house: House) -> None:
    """What a release frees is granted before its answer comes."""
    a = await house.replica()
    await a.ask("r1")
    assert await a.ask("r2") == "queued"
    await a.release("r1")
    assert a.kinds("r2") == ["queued", "granted"]
    assert a.lease("r2").token > a.lease("r1").token


async def test_order_of_asking(house: House) -> None:
    """Equal requests of one user are served in the order of asking."""
    a = await house.replica()
    await a.ask("r0")
    for number in range(1, 6):
        await a.ask(f"r{number}")
    assert await a.order() == [f"r{number}" for number in range(1, 6)]
    for number in range(5):
        await a.release(f"r{number}")
    assert [w.request_id for w in a.words if w.kind == "granted"] == [f"r{number}" for number in range(6)]


async def test_users_in_turn(house: House) -> None:
    """A user who asks for one device waits behind one request of a user who asked for many, not behind all."""
    a = await house.replica()
    await a.ask("x0", user="x")
    for number in range(1, 5):
        await a.ask(f"x{number}", user="x")
    await a.ask("y1", user="y")
    await a.ask("y2", user="y")
    assert await a.order() == ["x1", "y1", "x2", "y2", "x3", "x4"]


async def test_a_user_who_comes_back_joins_the_turn_that_is_served(house: House) -> None:
    """Two users who ask again as soon as they are served alternate, however much one of them has queued."""
    a = await house.replica()
    await a.ask("x0", user="x")
    for number in range(1, 7):
        await a.ask(f"x{number}", user="x")
    await a.ask("y0", user="y")
    holder, served, asked = "x0", [], 0
    for _ in range(8):
        before = len(a.words)
        await a.release(holder)
        holder = next(w.request_id for w in a.words[before:] if w.kind == "granted")
        served.append(holder[0])
        if holder.startswith("y"):
            asked += 1
            await a.ask(f"y{asked}", user="y")
    assert "".join(served).count("y") == 4
    assert "xxx" not in "".join(served)


async def test_priority_first(house: House) -> None:
    """A later request of higher priority is served first."""
    a = await house.replica()
    await a.ask("r0")
    await a.ask("low", priority=-1)
    await a.ask("normal")
    await a.ask("high", priority=5)
    assert await a.order() == ["high", "normal", "low"]


async def test_priority_passes_for_a_bounded_time(house: House) -> None:
    """A waiter is passed by higher priorities for no longer than a boost for each level it lacks."""
    a = await house.replica(priority_boost_seconds=10.0, configuration={"gpu_lock.max_wait_time": "10000"})
    await a.ask("r0")
    await a.ask("low", priority=0)
    house.clocks.pass_seconds(21)
    await a.ask("high", priority=2)
    assert await a.order() == ["low", "high"]


async def test_memory_is_shared(house: House) -> None:
    """Requests for memory share a device up to what it has, and never past it."""
    a = await house.replica()
    assert await a.ask("r1", memory_mib=10_000) == "granted"
    assert await a.ask("r2", memory_mib=14_000) == "granted"
    assert await a.ask("r3", memory_mib=1) == "queued"
    assert await a.memory() == {"gpu-0": (24_000, 0)}
    await a.release("r1")
    assert a.kinds("r3") == ["queued", "granted"]
    assert await a.memory() == {"gpu-0": (14_001, 0)}


async def test_a_whole_device_is_nobody_elses(house: House) -> None:
    """A request for a whole device waits until nobody is on it, and nobody joins it then."""
    a = await house.replica()
    await a.ask("share", memory_mib=1)
    assert await a.ask("whole") == "queued"
    await a.release("share")
    assert a.kinds("whole") == ["queued", "granted"]
    assert await a.ask("late", memory_mib=1) == "queued"


async def test_devices_are_granted_together(house: House) -> None:
    """A request for two devices gets both at one instant, or neither."""
    a = await house.replica(devices=(GPU0, GPU1))
    await a.ask("r1", device="gpu-1")
    assert await a.ask("pair", device_count=2) == "queued"
    assert await a.memory() == {"gpu-0": (0, 0), "gpu-1": (24_000, 0)}
    await a.release("r1")
    assert [name for name, _ in a.lease("pair").devices] == ["gpu-0", "gpu-1"]


async def test_best_fit(house: House) -> None:
    """A small request goes where the least is left, so that large ones still fit."""
    a = await house.replica(devices=(GPU0, GPU1))
    await a.ask("r1", device="gpu-1", memory_mib=20_000)
    await a.ask("small", memory_mib=4_000)
    assert a.lease("small").devices == (("gpu-1", 4_000),)
    assert await a.ask("whole") == "granted"


async def test_a_large_request_is_not_passed_for_ever(house: House) -> None:
    """Small requests pass a large one that does not fit for the backfill time from the first; then its device is kept for it."""
    a = await house.replica(backfill_seconds=30.0)
    await a.ask("s1", memory_mib=10_000)
    assert await a.ask("large", memory_mib=20_000) == "queued"
    assert await a.ask("s2", memory_mib=10_000) == "granted"
    await a.release("s1")
    house.clocks.pass_seconds(29)
    assert await a.ask("s3", memory_mib=10_000) == "granted"
    await a.release("s2")
    house.clocks.pass_seconds(2)
    assert await a.ask("s4", memory_mib=10_000) == "queued"
    await a.release("s3")
    assert a.kinds("large")[-1] == "granted"
    assert a.kinds("s4") == ["queued"]


async def test_impossible_requests_are_refused_at_once(house: House) -> None:
    """What no device of the pool can ever give is refused, saying why."""
    small = DeviceSection(name="small", memory_mib=8_000, pool="other", host="h1")
    a = await house.replica(devices=(GPU0, GPU1, small))
    for fields, code in (
        ({"memory_mib": 24_001}, "GPU_NEVER_FITS"),
        ({"device_count": 3}, "GPU_NEVER_FITS"),
        ({"device": "gpu-0", "device_count": 2}, "GPU_NEVER_FITS"),
        ({"pool": "none"}, "GPU_POOL_UNKNOWN"),
        ({"device": "small"}, "GPU_DEVICE_UNKNOWN"),
        ({"pool": "other", "host": "h2"}, "GPU_NEVER_FITS"),
    ):
        assert await a.ask("r", **fields) == "refused", fields
        assert a.words[-1].detail == code, fields
    assert await a.ask("r", pool="other", host="h1") == "granted"


async def test_a_full_queue_refuses(house: House) -> None:
    """The waiter past the limit is refused, and the same request is welcome later."""
    a = await house.replica(max_waiters=1)
    await a.ask("r1")
    await a.ask("r2")
    assert await a.ask("r3") == "refused"
    assert a.words[-1].detail == "GPU_QUEUE_FULL"
    await a.release("r1")
    assert await a.ask("r3") == "queued"


async def test_asking_twice_is_asking_once(house: House) -> None:
    """A repeated request keeps its place, and one that was granted is told its lease again."""
    a = await house.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    assert await a.ask("r2") == "queued"
    assert await a.order() == ["r2", "r3"]
    await a.ask("r1")
    first, second = a.said("r1", "granted")
    assert first.token == second.token
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_a_repeated_request_moves_to_the_replica_that_hears_it(house: House) -> None:
    """A waiter that asks again at another replica keeps its place and is granted there."""
    a = await house.replica("a")
    b = await house.replica("b")
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    assert await b.ask("r2") == "queued"
    await a.release("r1")
    await house.carry()
    assert b.kinds("r2") == ["queued", "granted"]
    assert a.kinds("r2") == ["queued"]


async def test_an_ended_request_is_told_how_it_ended(house: House) -> None:
    """For a minute after its end a repeated request gets the end; then the id is free."""
    a = await house.replica()
    await a.ask("r1")
    await a.release("r1")
    assert await a.ask("r1") == "released"
    await house.after(61)
    assert await a.ask("r1") == "granted"


async def test_max_wait(house: House) -> None:
    """A wait ends at its own limit, or at the service's; only a sweep ends it."""
    a = await house.replica(configuration={"gpu_lock.max_wait_time": "300"})
    await a.ask("r1")
    await a.ask("short", max_wait_seconds=5)
    await a.ask("long")
    await house.after(6)
    assert a.kinds("short") == ["queued", "timeout"]
    await a.renew("r1")
    await house.after(295)
    assert a.kinds("long") == ["queued", "timeout"]


async def test_a_renewal_sets_the_ttl(house: House) -> None:
    """A beat gives the lease one TTL from now, however often it comes."""
    a = await house.replica()
    await a.ask("r1")
    for _ in range(5):
        house.clocks.pass_seconds(1)
        await a.renew("r1")
    assert a.lease("r1").expires_us - house.clocks.wall_us == 300_000_000


async def test_a_silent_holder_is_revoked_and_quarantined(house: House) -> None:
    """A lease without beats is lost at its TTL; the next is granted only a lock delay later, with a larger token."""
    a = await house.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=1000)
    await house.after(301)
    assert a.said("r1")[-1].kind == "lost"
    assert a.said("r1")[-1].detail == "heartbeat"
    assert await a.memory() == {"gpu-0": (0, 24_000)}
    assert a.kinds("r2") == ["queued"]
    await house.after(6)
    assert a.kinds("r2") == ["queued", "granted"]
    assert a.lease("r2").token > a.lease("r1").token
    assert (await a.renew("r1")).kind == "lost"


async def test_a_confirmed_end_frees_at_once(house: House) -> None:
    """A holder that has killed its work says so, and the next is granted in that step."""
    a = await house.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.force_release("r1", "default", "", "operator")
    assert a.said("r1")[-1].detail == "forced"
    assert a.kinds("r2") == ["queued"]
    token = a.lease("r1").token
    assert (await a.lessor.confirm(Client("client-r1"), "r1", token)).kind == "confirmed"
    assert a.kinds("r2") == ["queued", "granted"]
    assert (await a.lessor.confirm(Client("client-r1"), "r1", token)).kind == "confirmed"


async def test_a_holder_that_ignores_revocation(house: House) -> None:
    """A forced lease whose holder says nothing is granted again when it would have run out, and a lock delay later."""
    a = await house.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=1000)
    await a.lessor.force_release("", "default", "gpu-0", "operator")
    await house.after(304)
    assert a.kinds("r2") == ["queued"]
    assert (await a.renew("r1")).kind == "lost"
    await house.after(2)
    assert a.kinds("r2") == ["queued", "granted"]


async def test_without_auto_recovery_an_operator_frees(house: House) -> None:
    """With auto_recovery off a silent holder's memory stays back until somebody releases it."""
    a = await house.replica(configuration={"gpu_lock_monitor.auto_recovery": "false"})
    await a.ask("r1")
    await house.after(301)
    await house.after(10_000)
    assert await a.memory() == {"gpu-0": (0, 24_000)}
    assert "r1" in await a.leases()
    await a.lessor.force_release("r1", "default", "", "looked at the machine")
    await house.after(1)
    assert await a.memory() == {"gpu-0": (0, 0)}


async def test_graded_timeouts(house: House) -> None:
    """A holder is warned, then asked to stop, then revoked, each once, while it beats."""
    a = await house.replica(
        configuration={
            "gpu_lock_monitor.timeout_levels.warning": "30",
            "gpu_lock_monitor.timeout_levels.soft_timeout": "60",
            "gpu_lock_monitor.timeout_levels.hard_timeout": "120",
        }
    )
    await a.ask("r1")
    for _ in range(13):
        await house.after(10)
        await a.renew("r1")
    told = [(w.kind, w.detail) for w in a.said("r1") if w.kind in ("warning", "stop", "lost")]
    assert [kind for kind, _ in told][:3] == ["warning", "stop", "lost"]
    assert told[1][1] == "soft_timeout"
    assert told[2][1] == "hard_timeout"


async def test_graded_timeouts_can_be_switched_off(house: House) -> None:
    """With gpu_lock_monitor.enabled false a beating holder is left alone."""
    a = await house.replica(configuration={"gpu_lock_monitor.enabled": "false"})
    await a.ask("r1")
    for _ in range(40):
        await house.after(200)
        await a.renew("r1")
    assert set(a.kinds("r1")) == {"granted", "renewed"}


async def test_settings_change_what_is_held_already(house: House) -> None:
    """A shorter heartbeat timeout applies to leases granted before it; older settings change nothing."""
    a = await house.replica()
    await a.ask("r1")
    values = {"gpu_lock_monitor.heartbeat.interval": "5", "gpu_lock_monitor.heartbeat.timeout": "15"}
    changed = a.lessor.configuration.changed(values)
    await a.lessor.configure(changed, 2)
    b = await house.replica("b")  # starts with the old ones
    await house.after(16)
    assert a.said("r1")[-1].kind == "lost"
    assert b.kinds("r1") == []


async def test_a_shorter_life_is_believed_by_nobody_who_has_not_heard_of_it(house: House) -> None:
    """A holder whose beat was answered with a shorter life may not have had the answer: its device stays back for the longer."""
    a = await house.replica(lock_delay_seconds=5.0)
    await a.ask("r1")
    await a.ask("r2", max_wait_seconds=10_000)
    values = {"gpu_lock_monitor.heartbeat.interval": "5", "gpu_lock_monitor.heartbeat.timeout": "15"}
    await a.lessor.configure(a.lessor.configuration.changed(values), 2)
    await a.renew("r1")
    await house.after(16)
    assert a.said("r1")[-1].kind == "lost"
    await house.after(288)
    assert a.kinds("r2") == ["queued"]
    await house.after(2)
    assert a.kinds("r2") == ["queued", "granted"]


async def test_cancel_ends_a_wait(house: House) -> None:
    """A cancelled waiter is gone, and those it held up go on."""
    a = await house.replica()
    await a.ask("s1", memory_mib=10_000)
    await a.ask("large")
    await house.after(1)
    await a.ask("s2", memory_mib=20_000)
    assert (await a.lessor.cancel(Client("c"), "large")).kind == "cancelled"
    await a.release("s1")
    assert a.kinds("s2") == ["queued", "granted"]
    assert (await a.lessor.cancel(Client("c"), "large")).kind == "cancelled"


async def test_cancel_of_a_blocking_head_serves_those_behind_it(house: House) -> None:
    """When a head that keeps a device for itself goes, what fits behind it is granted in that step."""
    a = await house.replica(backfill_seconds=0.0)
    await a.ask("s1", memory_mib=10_000)
    await a.ask("large")
    await a.ask("s2", memory_mib=1_000)
    await a.ask("s3", memory_mib=1_000)
    assert a.kinds("s3") == ["queued"]
    await a.lessor.cancel(Client("c"), "large")
    assert a.kinds("s3") == ["queued", "granted"]


async def test_cancel_that_crosses_a_grant_releases_it(house: House) -> None:
    """Taking back a request that has just been granted gives the devices to the next."""
    a = await house.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.cancel(Client("c"), "r1")
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_wrong_token_does_nothing(house: House) -> None:
    """Release, renewal, parking and confirmation under another token than the lease's are refused and counted."""
    a = await house.replica()
    await a.ask("r1")
    wrong = a.lease("r1").token - 1
    assert (await a.release("r1", token=wrong)).detail == "GPU_STALE_LEASE"
    assert (await a.renew("r1", token=wrong)).detail == "GPU_STALE_LEASE"
    assert (await a.lessor.park(Client("c"), "r1", wrong, "m", 0, 0)).detail == "GPU_STALE_LEASE"
    assert (await a.lessor.confirm(Client("c"), "r1", wrong)).detail == "GPU_STALE_LEASE"
    assert await a.memory() == {"gpu-0": (24_000, 0)}
    assert house.redis.hget("{gputest}:stat", "default|stale") == b"4"


async def test_a_released_lease_is_gone(house: House) -> None:
    """A second release is harmless, and the lease cannot be renewed."""
    a = await house.replica()
    await a.ask("r1")
    await a.release("r1")
    await a.ask("r2")
    assert (await a.release("r1")).kind == "released"
    assert (await a.renew("r1")).kind == "lost"
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_a_lost_client_keeps_its_place_for_the_grace(house: House) -> None:
    """A waiter whose stream is gone is not served, holds nobody up, and finds its place again when it is back in time."""
    a = await house.replica(waiter_grace_seconds=10.0)
    await a.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    await a.lessor.detach(Client("client-r2"), ["r2"])
    await a.release("r1")
    assert a.kinds("r3") == ["queued", "granted"]
    await house.after(9)
    await a.ask("r4")
    assert await a.ask("r2") == "queued"
    await a.release("r3")
    assert a.kinds("r2")[-1] == "granted"
    await a.lessor.detach(Client("client-r4"), ["r4"])
    await house.after(11)
    assert await a.order() == []


async def test_a_late_farewell_changes_nothing(house: House) -> None:
    """The end of an old stream does not detach a waiter that has gone on at another replica, or with another client."""
    a, b = await house.replica("a"), await house.replica("b")
    await a.ask("r1")
    await a.ask("r2")
    await b.ask("r2", "client-r2")
    await a.lessor.detach(Client("client-r2"), ["r2"])
    await b.lessor.detach(Client("another"), ["r2"])
    await a.release("r1")
    await house.carry()
    assert b.kinds("r2") == ["queued", "granted"]


async def test_who_comes_back_is_served_with_what_became_free(house: House) -> None:
    """A device that nobody else wanted while a waiter was away is granted as soon as it is back."""
    a = await house.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.detach(Client("client-r2"), ["r2"])
    await a.release("r1")
    assert await a.ask("r2") == "granted"


async def test_waiters_of_a_dead_replica(house: House) -> None:
    """When a replica dies its waiters are not served until they attach to another, and lose their places after the grace."""
    a = await house.replica("a", replica_ttl_seconds=15.0, waiter_grace_seconds=10.0)
    b = await house.replica("b", replica_ttl_seconds=15.0, waiter_grace_seconds=10.0)
    await b.ask("r1")
    await a.ask("r2")
    await a.ask("r3")
    await b.ask("r4")
    del house.replicas["a"]
    await house.after(16)
    assert await b.ask("r2") == "queued"
    await b.release("r1")
    await b.release("r2")
    assert b.kinds("r4")[-1] == "granted"
    await house.after(11)
    assert await b.order() == []


async def test_drain(house: House) -> None:
    """A drained device is granted no more, its holder goes on, and undoing it serves who waited."""
    a = await house.replica()
    await a.ask("r1")
    await a.ask("r2")
    await a.lessor.drain_device("default", "gpu-0", undo=False, reason="fan")
    await a.release("r1")
    assert a.kinds("r2") == ["queued"]
    assert await a.ask("r3") == "refused"
    assert a.words[-1].detail == "GPU_DRAINING"
    await a.lessor.drain_device("default", "gpu-0", undo=True, reason="")
    assert a.kinds("r2") == ["queued", "granted"]


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


def client(request_id: str) -> Client:
    """The client that a replica's `ask` uses."""
    return Client(f"client-{request_id}")


async def test_a_grant_reaches_its_client_though_who_made_way_has_gone(house: House) -> None:
    """The release that is under way when its client's stream breaks is obeyed, and the waiter hears of its grant."""
    a = await house.replica()
    await a.ask("r1")
    await a.ask("r2")
    release = asyncio.create_task(a.release("r1"))
    await asyncio.sleep(0)
    release.cancel()
    with pytest.raises(asyncio.CancelledError):
        await release
    assert await a.ask("r3") == "queued"  # its answer comes after the release's
    assert a.kinds("r2") == ["queued", "granted"]


async def test_nothing_is_granted_before_a_recovery_has_run(house: House) -> None:
    """After a restart that kept the data, beats go on, nothing is granted or taken for the window, then all goes on."""
    a = await house.replica(recovery_window_seconds=20.0)
    await a.ask("r1")
    await a.ask("r2")
    epoch = a.lessor.epoch
    house.restart_redis()
    await a.release("r1")
    assert a.lessor.epoch > epoch
    assert a.epochs[-1] == (a.lessor.epoch, 20.0)
    assert a.kinds("r2") == ["queued"]
    await house.after(19)
    assert a.kinds("r2") == ["queued"]
    await house.after(2)
    assert a.kinds("r2") == ["queued", "granted"]


async def test_a_forgotten_lease_is_reclaimed(house: House) -> None:
    """A store without memory waits, takes the holder's word for its lease, and grants with a larger token afterwards."""
    a = await house.replica(recovery_window_seconds=20.0)
    await a.ask("r1", memory_mib=20_000)
    lease = a.lease("r1")
    house.redis.flushdb()
    assert (await a.renew("r1")).kind == "reclaim"
    word = await a.lessor.reclaim(
        client("r1"), Ask("r1", memory_mib=20_000), lease.token, ["gpu-0"], lease.granted_us
    )
    assert word.kind == "renewed"
    assert await a.ask("r2", memory_mib=20_000) == "queued"
    await house.after(21)
    assert a.kinds("r2") == ["queued"]
    assert await a.memory() == {"gpu-0": (20_000, 0)}
    await a.release("r1", token=lease.token)
    assert a.lease("r2").token > lease.token


async def test_who_comes_too_late_has_lost_its_lease(house: House) -> None:
    """After the window a lease that is not on record is gone: somebody else may have had the device since."""
    a = await house.replica(recovery_window_seconds=20.0)
    await a.ask("r1")
    lease = a.lease("r1")
    house.redis.flushdb()
    await house.after(1)
    await house.after(21)
    word = await a.lessor.reclaim(client("r1"), Ask("r1"), lease.token, ["gpu-0"], lease.granted_us)
    assert word.kind == "lost"
    assert (await a.renew("r1")).kind == "lost"


async def test_of_two_holders_after_a_stale_failover_the_later_wins(house: House) -> None:
    """A dataset that still shows an older holder yields to the later grant's token; the older is told that it lost."""
    a = await house.replica(recovery_window_seconds=20.0)
    await a.ask("old")
    stale = (
        house.redis.dump("{gputest}:req"),
        house.redis.dump("{gputest}:dl"),
        house.redis.dump("{gputest}:used"),
    )
    old = a.lease("old")
    await a.release("old")
    await a.ask("new")
    new = a.lease("new")
    for name, payload in zip(("req", "dl", "used"), stale, strict=True):
        house.redis.restore(f"{{gputest}}:{name}", 0, payload, replace=True)
    house.restart_redis()
    word = await a.lessor.reclaim(client("new"), Ask("new"), new.token, ["gpu-0"], new.granted_us)
    assert word.kind == "renewed"
    assert a.said("old")[-1].kind == "lost"
    assert a.said("old")[-1].detail == "superseded"
    again = await a.lessor.reclaim(client("old"), Ask("old"), old.token, ["gpu-0"], old.granted_us)
    assert again.kind == "lost"


async def test_of_two_who_reclaim_one_device_the_later_grant_wins(house: House) -> None:
    """In a store without memory a holder with an older token than another's is told that it has lost, whoever comes first."""
    a = await house.replica(recovery_window_seconds=20.0)
    await a.ask("old")
    old = a.lease("old")
    await a.release("old")
    await a.ask("new")
    new = a.lease("new")
    house.redis.flushdb()
    word = await a.lessor.reclaim(client("new"), Ask("new"), new.token, ["gpu-0"], new.granted_us)
    assert word.kind == "renewed"
    word = await a.lessor.reclaim(client("old"), Ask("old"), old.token, ["gpu-0"], old.granted_us)
    assert (word.kind, word.detail) == ("lost", "superseded")
    assert "lost" not in a.kinds("new")
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_a_reclaimed_token_is_a_floor_for_all_that_follow(house: House) -> None:
    """When store and replicas have forgotten all and the clock is a day behind, the holders' tokens keep new ones above."""
    a = await house.replica("a")
    await a.ask("r1")
    lease = a.lease("r1")
    del house.replicas["a"]
    house.redis.flushdb()
    house.clocks.step_seconds(-86_400)
    b = await house.replica("b", initial_state="existing", recovery_window_seconds=20.0)
    word = await b.lessor.reclaim(client("r1"), Ask("r1"), lease.token, ["gpu-0"], lease.granted_us)
    assert word.kind == "renewed"
    await house.after(21)
    await b.release("r1", token=lease.token)
    assert await b.ask("r2") == "granted"
    assert b.lease("r2").token > lease.token


async def test_an_empty_store_waits_unless_told_that_nothing_runs(house: House) -> None:
    """With initial_state `existing` a replica that finds an empty store takes it for one that has lost its memory."""
    a = await house.replica(initial_state="existing", recovery_window_seconds=20.0)
    assert await a.ask("r1") == "queued"
    await house.after(21)
    assert a.kinds("r1") == ["queued", "granted"]
