"""The lessor's promises about who is served, when and with what, on a real Redis and clocks that the test moves."""

from __future__ import annotations

from gpulock.lease.message import Client
from tests.gpulock.conftest import GPU0, GPU1, Harness


async def test_a_free_device_is_granted_at_once(harness: Harness) -> None:
    """A whole free device is granted in the answer, with a token and a TTL."""
    a = await harness.replica()
    assert await a.ask("r1") == "granted"
    lease = a.lease("r1")
    assert lease.devices == (("gpu-0", 24_000),)
    assert lease.expires_us - harness.clocks.wall_us == 300_000_000
    assert lease.token >= harness.clocks.wall_us


async def test_a_release_grants_to_the_next_in_the_same_step(harness: Harness) -> None:
    """What a release frees is granted before its answer comes."""
    a = await harness.replica()
    await a.ask("r1")
    assert await a.ask("r2") == "queued"
    await a.release("r1")
    assert a.kinds("r2") == ["queued", "granted"]
    assert a.lease("r2").token > a.lease("r1").token


async def test_order_of_asking(harness: Harness) -> None:
    """Equal requests of one user are served in the order of asking."""
    a = await harness.replica()
    await a.ask("r0")
    for number in range(1, 6):
        await a.ask(f"r{number}")
    assert await a.order() == [f"r{number}" for number in range(1, 6)]
    for number in range(5):
        await a.release(f"r{number}")
    assert [w.request_id for w in a.messages if w.kind == "granted"] == [f"r{number}" for number in range(6)]


async def test_users_in_turn(harness: Harness) -> None:
    """A user who asks for one device waits behind one request of a user who asked for many, not behind all."""
    a = await harness.replica()
    await a.ask("x0", user="x")
    for number in range(1, 5):
        await a.ask(f"x{number}", user="x")
    await a.ask("y1", user="y")
    await a.ask("y2", user="y")
    assert await a.order() == ["x1", "y1", "x2", "y2", "x3", "x4"]


async def test_a_user_who_comes_back_joins_the_turn_that_is_served(harness: Harness) -> None:
    """Two users who ask again as soon as they are served alternate, however much one of them has queued."""
    a = await harness.replica()
    await a.ask("x0", user="x")
    for number in range(1, 7):
        await a.ask(f"x{number}", user="x")
    await a.ask("y0", user="y")
    holder, served, asked = "x0", [], 0
    for _ in range(8):
        before = len(a.messages)
        await a.release(holder)
        holder = next(w.request_id for w in a.messages[before:] if w.kind == "granted")
        served.append(holder[0])
        if holder.startswith("y"):
            asked += 1
            await a.ask(f"y{asked}", user="y")
    assert "".join(served).count("y") == 4
    assert "xxx" not in "".join(served)


async def test_a_newcomer_joins_the_turn_that_is_served(harness: Harness) -> None:
    """Turns that are over do not come again: who has not asked before passes those who wait once a turn, like everybody."""
    a = await harness.replica()
    await a.ask("x0", user="x")
    for number in range(1, 6):
        await a.ask(f"x{number}", user="x")
    for number in range(3):
        await a.release(f"x{number}")
    for number in range(3):
        await a.ask(f"new{number}", user="new")
    assert await a.order() == ["new0", "x4", "new1", "x5", "new2"]


async def test_what_was_taken_back_is_no_turn(harness: Harness) -> None:
    """A user whose requests were taken back is not behind another one for it."""
    a = await harness.replica()
    await a.ask("h", user="z")
    await a.ask("z", user="z")
    for number in range(4):  # one after the other
        await a.ask(f"x{number}", user="x")
        await a.lessor.cancel(Client("client-x"), f"x{number}")
    for number in range(4):  # and several, the newest first
        await a.ask(f"y{number}", user="y")
    for number in reversed(range(4)):
        await a.lessor.cancel(Client("client-y"), f"y{number}")
    for request_id in ("w0", "w1", "w2", "x4", "y4"):
        await a.ask(request_id, user=request_id[0])
    assert await a.order() == ["z", "w0", "x4", "y4", "w1", "w2"]


async def test_priority_first(harness: Harness) -> None:
    """A later request of higher priority is served first."""
    a = await harness.replica()
    await a.ask("r0")
    await a.ask("low", priority=-1)
    await a.ask("normal")
    await a.ask("high", priority=5)
    assert await a.order() == ["high", "normal", "low"]


async def test_priority_passes_for_a_bounded_time(harness: Harness) -> None:
    """A waiter is passed by higher priorities for no longer than a boost for each level it lacks."""
    a = await harness.replica(priority_boost_seconds=10.0, configuration={"gpu_lock.max_wait_time": "10000"})
    await a.ask("r0")
    await a.ask("low", priority=0)
    harness.clocks.pass_seconds(21)
    await a.ask("high", priority=2)
    assert await a.order() == ["low", "high"]


async def test_memory_is_shared(harness: Harness) -> None:
    """Requests for memory share a device up to what it has, and never past it."""
    a = await harness.replica()
    assert await a.ask("r1", memory_mib=10_000) == "granted"
    assert await a.ask("r2", memory_mib=14_000) == "granted"
    assert await a.ask("r3", memory_mib=1) == "queued"
    assert await a.memory() == {"gpu-0": (24_000, 0)}
    await a.release("r1")
    assert a.kinds("r3") == ["queued", "granted"]
    assert await a.memory() == {"gpu-0": (14_001, 0)}


async def test_a_whole_device_is_nobody_elses(harness: Harness) -> None:
    """A request for a whole device waits until nobody is on it, and nobody joins it then."""
    a = await harness.replica()
    await a.ask("share", memory_mib=1)
    assert await a.ask("whole") == "queued"
    await a.release("share")
    assert a.kinds("whole") == ["queued", "granted"]
    assert await a.ask("late", memory_mib=1) == "queued"


async def test_devices_are_granted_together(harness: Harness) -> None:
    """A request for two devices gets both at one instant, or neither."""
    a = await harness.replica(devices=(GPU0, GPU1))
    await a.ask("r1", device="gpu-1")
    assert await a.ask("pair", device_count=2) == "queued"
    assert await a.memory() == {"gpu-0": (0, 0), "gpu-1": (24_000, 0)}
    await a.release("r1")
    assert [name for name, _ in a.lease("pair").devices] == ["gpu-0", "gpu-1"]


async def test_best_fit(harness: Harness) -> None:
    """A small request goes where the least is left, so that large ones still fit."""
    a = await harness.replica(devices=(GPU0, GPU1))
    await a.ask("r1", device="gpu-1", memory_mib=20_000)
    await a.ask("small", memory_mib=4_000)
    assert a.lease("small").devices == (("gpu-1", 4_000),)
    assert await a.ask("whole") == "granted"


async def test_a_large_request_is_not_passed_for_ever(harness: Harness) -> None:
    """Small requests pass a large one that does not fit for the backfill time from the first; then its device is kept for it."""
    a = await harness.replica(backfill_seconds=30.0)
    await a.ask("s1", memory_mib=10_000)
    assert await a.ask("large", memory_mib=20_000) == "queued"
    assert await a.ask("s2", memory_mib=10_000) == "granted"
    await a.release("s1")
    harness.clocks.pass_seconds(29)
    assert await a.ask("s3", memory_mib=10_000) == "granted"
    await a.release("s2")
    harness.clocks.pass_seconds(2)
    assert await a.ask("s4", memory_mib=10_000) == "queued"
    await a.release("s3")
    assert a.kinds("large")[-1] == "granted"
    assert a.kinds("s4") == ["queued"]
