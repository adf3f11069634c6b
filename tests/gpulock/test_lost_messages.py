"""What a replica or its store could not say at the time is made good: nobody waits for a message that was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import redis

from gpulock.lease.message import Client
from leases.ask import Ask
from tests.gpulock.conftest import STORE
from tests.gpulock.lock_client import NodeClient
from tests.gpulock.replicas import Replicas, Running
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2


async def waiters(running: Running) -> list[str]:
    """Who waits, in the order of service."""
    status = await running.channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())
    return [waiter.request_id for waiter in status.waiters]


@contextmanager
def without_redis(running: Running) -> Iterator[None]:
    """Break a replica's connection for scripts and refuse it another one for the time of the block; its streams stand."""
    address = running.replica.primary.address.options
    port, address["port"] = address["port"], 1
    running.replica.pipe.close()
    try:
        yield
    finally:
        address["port"] = port


async def lose_answer(running: Running, clean_redis: redis.Redis) -> None:
    """Break a replica's connection for scripts when Redis has obeyed what is on its way and the answer is yet to be read."""
    events = clean_redis.xlen(f"{STORE}ev")
    for _ in range(1000):
        await asyncio.sleep(0)
        if clean_redis.xlen(f"{STORE}ev") > events:
            break
    running.replica.pipe.close()


async def test_a_grant_whose_answer_was_lost_is_told(replicas: Replicas, clean_redis: redis.Redis) -> None:
    """The connection to Redis breaks between a release and its answer: the waiter that it served hears of its grant."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    release = asyncio.create_task(a.replica.lessor.release(Client("n1"), "r1", lease.token, "normal"))
    await lose_answer(a, clean_redis)
    assert (await release).kind == "released"
    assert (await waiter.receive("granted", "r2", seconds=3)).token > lease.token


async def test_a_grant_that_is_told_twice_is_not_given_back(replicas: Replicas) -> None:
    """A replica that asks again for a waiter which has been served meanwhile brings its grant a second time: its holder goes on."""
    a = await replicas.replica(monitor={})
    holder = await replicas.client(a, "n1")
    lease = await holder.granted("r1")
    await a.replica.lessor.acquire(Client("n1"), Ask("r1"), again=True)
    await asyncio.sleep(0)  # a background call would be under way now, and before what follows
    await holder.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    assert (await holder.receive("renewed", "r1")).token == lease.token


async def test_an_id_that_was_taken_back_may_be_used_again(replicas: Replicas) -> None:
    """The same for a request whose id its client had taken back before, when the store knew nothing of it."""
    a = await replicas.replica(monitor={})
    client = await replicas.client(a, "n1")
    await client.send(cancel=lock_pb2.Cancel(request_id="r1"))
    await client.receive("cancelled", "r1")
    lease = await client.granted("r1")
    await a.replica.lessor.acquire(Client("n1"), Ask("r1"), again=True)
    await asyncio.sleep(0)
    await client.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    assert (await client.receive("renewed", "r1")).token == lease.token


async def test_a_stop_whose_answer_was_lost_is_told_with_the_next_beat(
    replicas: Replicas, clean_redis: redis.Redis
) -> None:
    """The holder that was asked to give way in the answer that never came hears of it when it beats."""
    a = await replicas.replica(monitor={})
    holder = await replicas.client(a, "n1")
    lease = await holder.granted("r1", preemptible=True)
    asking = asyncio.create_task(a.replica.lessor.acquire(Client("n2"), Ask("r2")))
    await lose_answer(a, clean_redis)
    await asking
    await holder.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    await holder.receive("renewed", "r1")
    assert (await holder.receive("stop", "r1", seconds=3)).reason == lock_pb2.STOP_REASON_PREEMPTED


async def passes_over_the_ghost(
    running: Running, holder: NodeClient, lease: lock_pb2.Lease, next_one: NodeClient
) -> None:
    """Give a lease back: it goes past the waiter that has left to who asks now, and at last nobody waits."""
    await next_one.acquire("r3")
    await next_one.receive("queued", "r3")
    await holder.release(lease)
    await next_one.receive("granted", "r3", seconds=3)
    async with asyncio.timeout(5):
        while await waiters(running):
            await asyncio.sleep(0.05)


async def test_a_stream_that_ends_while_it_asks_leaves_nobody_in_the_queue(
    replicas: Replicas, clean_redis: redis.Redis
) -> None:
    """A client goes while the store has yet to answer its request: the request is not served, and its place ends with the grace."""
    a = await replicas.replica(monitor={}, waiter_grace_seconds=0.3)
    holder, next_one = await replicas.client(a, "n1"), await replicas.client(a, "n3")
    lease = await holder.granted("r1")
    async with a.channel.client("n2") as leaver:
        await leaver.receive("welcome")
        clean_redis.client_pause(500)
        await leaver.acquire("ghost")
        await asyncio.sleep(0.1)
    await passes_over_the_ghost(a, holder, lease, next_one)


async def test_a_detach_that_redis_did_not_take_is_said_again(replicas: Replicas) -> None:
    """A stream ends while Redis is away for longer than a call waits: when it is back the waiter is not served."""
    a = await replicas.replica(monitor={}, waiter_grace_seconds=0.3, redis_retry_seconds=0.2)
    holder, next_one = await replicas.client(a, "n1"), await replicas.client(a, "n3")
    lease = await holder.granted("r1")
    async with AsyncExitStack() as leaving:
        leaver = await leaving.enter_async_context(a.channel.client("n2"))
        await leaver.acquire("ghost")
        await leaver.receive("queued", "ghost")
        with without_redis(a):
            await leaving.aclose()
            async with asyncio.timeout(5):
                while not a.replica.hub._owed:
                    await asyncio.sleep(0.02)
    await passes_over_the_ghost(a, holder, lease, next_one)


async def test_a_newer_session_does_not_keep_what_it_does_not_ask_for(replicas: Replicas) -> None:
    """A client's newer session takes over only what it asks for again; the rest of the older one's waiters have been left."""
    a = await replicas.replica(monitor={}, waiter_grace_seconds=0.3)
    holder = await replicas.client(a, "n1")
    lease = await holder.granted("r1")
    old = await replicas.client(a, "n2")
    for request_id in ("kept", "left"):
        await old.acquire(request_id)
        await old.receive("queued", request_id)
    new = await replicas.client(a, "n2")
    await new.acquire("kept")
    await new.receive("queued", "kept")
    async with asyncio.timeout(5):
        while await waiters(a) != ["kept"]:
            await asyncio.sleep(0.05)
    await holder.release(lease)
    await new.receive("granted", "kept", seconds=3)


async def test_a_replica_that_was_taken_for_dead_keeps_its_waiters(
    replicas: Replicas, clean_redis: redis.Redis
) -> None:
    """A replica loses Redis for longer than its life while its streams stand: back again, its waiters keep their places."""
    a = await replicas.replica(monitor={}, replica_ttl_seconds=0.6, waiter_grace_seconds=3.0)
    b = await replicas.replica(monitor={}, replica_ttl_seconds=0.6, waiter_grace_seconds=3.0)
    holder, waiter = await replicas.client(b, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    with without_redis(a):
        async with asyncio.timeout(5):
            while clean_redis.zscore(f"{STORE}replicas", a.replica.name) is not None:
                await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        while clean_redis.zscore(f"{STORE}replicas", a.replica.name) is None:
            await asyncio.sleep(0.05)
    await holder.release(lease)  # perhaps before the waiter is attached again: then it is served when it is
    await waiter.receive("granted", "r2", seconds=3)


async def test_a_place_that_was_lost_is_told(replicas: Replicas) -> None:
    """The same for longer than the grace: the waiter's place is gone, and its client hears so and can ask again."""
    a = await replicas.replica(monitor={}, replica_ttl_seconds=0.6, waiter_grace_seconds=0.2)
    b = await replicas.replica(monitor={}, replica_ttl_seconds=0.6, waiter_grace_seconds=0.2)
    holder, waiter = await replicas.client(b, "n1"), await replicas.client(a, "n2")
    await holder.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    with without_redis(a):
        async with asyncio.timeout(5):
            while await waiters(b):
                await asyncio.sleep(0.05)
    await waiter.receive("cancelled", "r2", seconds=3)
