"""What a waiter hears, and every end that a wait can have."""

from __future__ import annotations

from tests.gpulock.conformance.conftest import StartArbiter
from yivideo.gpulock.v1 import lock_pb2


async def test_places_come_with_their_reason(start: StartArbiter) -> None:
    """A waiter hears its place and who is in its way, and again when it moves up."""
    bench = await start()
    holder, waiter = await bench.client("n1"), await bench.client("n2")
    lease = await holder.granted("r1", task_id="task-7")
    await waiter.ask("r2")
    await waiter.ask("r3")
    await waiter.said(
        lock_pb2.Queued, "r3", lambda said: (said.position, said.reason) == (2, "gpu-0 is held by task-7")
    )
    await holder.release(lease)
    await waiter.said(
        lock_pb2.Queued, "r3", lambda said: (said.position, said.reason) == (1, "gpu-0 is held by r2")
    )


async def test_a_wait_ends_at_its_own_limit(start: StartArbiter) -> None:
    """A wait that ends without a grant is refused with GPU_LOCK_TIMEOUT, also when it is asked for again; the next goes on."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    await client.ask("short", max_wait_seconds=0.02)
    await client.ask("long")
    refused = await client.said(lock_pb2.Refused, "short")
    assert (refused.code, refused.message) == ("GPU_LOCK_TIMEOUT", "no device became free in time")
    assert await client.ask("short") == "refused"
    await client.release(lease)
    await client.lease("long")
    await client.settled()
    assert client.kinds("short") == ["queued", "refused"]


async def test_a_wait_without_a_limit_has_the_arbiters(start: StartArbiter) -> None:
    """A request that sets no longest wait waits for as long as the arbiter's rules say."""
    client = await (await start(max_wait_seconds=0.02)).client()
    await client.granted("r1")
    await client.ask("r2")
    assert (await client.said(lock_pb2.Refused, "r2")).code == "GPU_LOCK_TIMEOUT"


async def test_a_cancelled_waiter_is_gone(start: StartArbiter) -> None:
    """A cancelled wait is answered and never granted; who stood behind it is served."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    await client.ask("r2")
    await client.ask("r3")
    await client.cancel("r2")
    await client.release(lease)
    await client.lease("r3")
    assert client.kinds("r2") == ["queued", "cancelled"]


async def test_cancel_of_a_blocking_head_serves_those_behind_it(start: StartArbiter) -> None:
    """When a head that keeps a device for itself goes, what fits behind it is granted in that step."""
    client = await (await start(backfill_seconds=0.0)).client()
    await client.granted("s1", memory_mib=10_000)
    await client.ask("large")
    await client.ask("s2", memory_mib=1_000)
    assert await client.ask("s3", memory_mib=1_000) == "queued"
    await client.cancel("large")
    await client.lease("s3")


async def test_cancel_that_crosses_a_grant_releases_it(start: StartArbiter) -> None:
    """Taking back a request that has just been granted gives the device to the next; so does what is taken back twice."""
    client = await (await start()).client()
    await client.granted("r1")
    await client.ask("r2")
    await client.cancel("r1")
    await client.lease("r2")
    await client.cancel("r1")
    await client.cancel("never asked")


async def test_asking_twice_is_asking_once(start: StartArbiter) -> None:
    """A repeated request keeps its place, and one that was granted is told its lease again."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    await client.ask("r2")
    await client.ask("r3")
    await client.ask("r2")
    assert await client.ask("r1") == "granted"
    tokens = {m.granted.token for m in client.messages if m.granted.request_id == "r1"}
    assert tokens == {lease.token}
    await client.release(lease)
    await client.lease("r2")
    await client.settled()
    assert client.kinds("r3") == ["queued"]


async def test_an_id_is_one_clients(start: StartArbiter) -> None:
    """A second client is not told another's lease nor takes its place."""
    bench = await start()
    one, two = await bench.client("n1"), await bench.client("n2")
    await one.granted("r1")
    await one.ask("r2")
    for request_id in ("r1", "r2"):
        assert await two.ask(request_id) == "refused"
        assert (await two.said(lock_pb2.Refused, request_id)).code == "GPU_REQUEST_TAKEN"


async def test_an_ended_request_is_told_how_it_ended(start: StartArbiter) -> None:
    """A request that is repeated after its end gets the end and no second lease."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    await client.ask("r2")
    await client.cancel("r2")
    await client.release(lease)
    assert await client.ask("r1") == "released"
    assert await client.ask("r2") == "cancelled"
    await client.granted("r3")


async def test_a_waiter_that_comes_back_keeps_its_place(start: StartArbiter) -> None:
    """A waiter whose stream is gone is passed over, holds nobody up, and finds its place again when it is back in time."""
    bench = await start(waiter_grace_seconds=60.0)
    holder, late = await bench.client("n1"), await bench.client("n3")
    lease = await holder.granted("r1")
    early = await bench.client("n2")
    await early.ask("r2")
    await late.ask("r3")
    await early.aclose()
    await bench.arbiter.noticed("n2")
    again = await bench.client("n2")
    assert await again.ask("r2") == "queued"
    await again.said(lock_pb2.Queued, "r2", lambda said: said.position == 1)
    await again.aclose()
    await bench.arbiter.noticed("n2")
    await late.ask("r4")
    await holder.release(lease)
    await late.lease("r3")


async def test_a_waiter_that_stays_away_loses_its_place(start: StartArbiter) -> None:
    """After the grace it is cancelled: it is told so when it asks again."""
    bench = await start(waiter_grace_seconds=0.02)
    holder, other = await bench.client("n1"), await bench.client("n3")
    await holder.granted("r1")
    early = await bench.client("n2")
    await early.ask("r2")
    await other.ask("r3")
    await early.aclose()
    await other.said(lock_pb2.Queued, "r3", lambda said: said.position == 1)
    assert await (await bench.client("n2")).ask("r2") == "cancelled"


async def test_a_full_queue_refuses(start: StartArbiter) -> None:
    """The waiter past the limit is refused, and the same request is welcome later."""
    client = await (await start(max_waiters=1)).client()
    lease = await client.granted("r1")
    await client.ask("r2")
    assert await client.ask("r3") == "refused"
    assert (await client.said(lock_pb2.Refused, "r3")).code == "GPU_QUEUE_FULL"
    await client.release(lease)
    assert await client.ask("r3") == "queued"
