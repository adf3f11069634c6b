"""Who is served first: by priority, then users in turn, then order of asking; and who may pass whom, for how long."""

from __future__ import annotations

from tests.gpulock.conformance.arbiters import SessionClient
from tests.gpulock.conformance.conftest import StartArbiter
from yivideo.gpulock.v1 import lock_pb2


async def served(client: SessionClient, holder: lock_pb2.Lease, waiters: int) -> list[str]:
    """Give the device back again and again; gives the ids in the order in which they were granted."""
    order: list[str] = []
    for _ in range(waiters):
        await client.release(holder)
        holder = next(
            message.granted
            for message in reversed(client.messages)
            if message.HasField("granted") and message.granted.request_id not in (*order, holder.request_id)
        )
        order.append(holder.request_id)
    return order


async def test_order_of_asking(start: StartArbiter) -> None:
    """Equal requests of one user are served in the order of asking."""
    client = await (await start()).client()
    holder = await client.granted("r0")
    for number in range(1, 5):
        assert await client.ask(f"r{number}") == "queued"
    assert await served(client, holder, 4) == ["r1", "r2", "r3", "r4"]


async def test_users_in_turn(start: StartArbiter) -> None:
    """A user who asks for one device waits behind one request of a user who asked for many, not behind all."""
    client = await (await start()).client()
    holder = await client.granted("x0", user="x")
    for number in range(1, 5):
        await client.ask(f"x{number}", user="x")
    await client.ask("y1", user="y")
    await client.ask("y2", user="y")
    assert await served(client, holder, 6) == ["x1", "y1", "x2", "y2", "x3", "x4"]


async def test_a_newcomer_joins_the_turn_that_is_served(start: StartArbiter) -> None:
    """Turns that are over do not come again: who has not asked before passes those who wait once a turn, like everybody."""
    client = await (await start()).client()
    lease = await client.granted("x0", user="x")
    for number in range(1, 6):
        await client.ask(f"x{number}", user="x")
    for number in range(3):
        await client.release(lease)
        lease = await client.lease(f"x{number + 1}")
    for number in range(3):
        await client.ask(f"new{number}", user="new")
    assert await served(client, lease, 5) == ["new0", "x4", "new1", "x5", "new2"]


async def test_what_was_taken_back_is_no_turn(start: StartArbiter) -> None:
    """A user whose requests were taken back is not behind another one for it."""
    client = await (await start()).client()
    holder = await client.granted("h", user="z")
    await client.ask("z", user="z")
    for number in range(3):
        await client.ask(f"x{number}", user="x")
        await client.cancel(f"x{number}")
    for number in range(3):
        await client.ask(f"y{number}", user="y")
    for number in reversed(range(3)):
        await client.cancel(f"y{number}")
    for request_id in ("w0", "w1", "x4", "y4"):
        await client.ask(request_id, user=request_id[0])
    assert await served(client, holder, 5) == ["z", "w0", "x4", "y4", "w1"]


async def test_priority_first(start: StartArbiter) -> None:
    """A later request of higher priority is served first."""
    client = await (await start()).client()
    holder = await client.granted("r0")
    await client.ask("low", priority=-1)
    await client.ask("normal")
    await client.ask("high", priority=5)
    assert await served(client, holder, 3) == ["high", "normal", "low"]


async def test_priority_passes_for_a_bounded_time(start: StartArbiter) -> None:
    """A waiter is passed by higher priorities for no longer than a boost for each level it lacks."""
    client = await (await start(priority_boost_seconds=1e-6)).client()
    holder = await client.granted("r0")
    await client.ask("low", priority=-2)
    await client.ask("high", priority=2)
    assert await served(client, holder, 2) == ["low", "high"]


async def test_small_ones_pass_a_large_one(start: StartArbiter) -> None:
    """A request that fits now passes one that does not, for the backfill time."""
    client = await (await start(backfill_seconds=600.0)).client()
    await client.granted("s1", memory_mib=10_000)
    assert await client.ask("large", memory_mib=20_000) == "queued"
    await client.granted("s2", memory_mib=10_000)


async def test_a_large_one_is_not_passed_for_ever(start: StartArbiter) -> None:
    """When the backfill time is over the device is kept for the large request; then it is granted as soon as it fits."""
    client = await (await start(backfill_seconds=0.0)).client()
    first = await client.granted("s1", memory_mib=10_000)
    assert await client.ask("large", memory_mib=20_000) == "queued"
    second = await client.granted("s2", memory_mib=1_000)
    assert await client.ask("s3", memory_mib=1_000) == "queued"
    await client.release(second)
    await client.release(first)
    await client.lease("large")
    await client.lease("s3")
