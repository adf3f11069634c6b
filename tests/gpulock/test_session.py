"""Sessions over real gRPC and Redis: what a node process sees."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import pytest
import redis
from google.protobuf.timestamp_pb2 import Timestamp

from tests.gpulock.conftest import STORE
from tests.gpulock.replicas import Replicas
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc, monitor_pb2


async def test_a_session_begins_with_a_welcome(replicas: Replicas) -> None:
    """The welcome says how often to beat and how long a lease and a place last."""
    a = await replicas.replica()
    client = await replicas.client(a, "n1")
    welcome = await client.receive("welcome")
    assert (welcome.beat_seconds, welcome.ttl_seconds) == (0.3, 1.2)
    assert welcome.waiter_grace_seconds == 1.0
    assert welcome.epoch > 0


async def test_grant_renew_release_handover(replicas: Replicas) -> None:
    """A lease goes from hand to hand with a rising token, its device as the process must see it."""
    a = await replicas.replica()
    first, second = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await first.granted("r1", task_id="t1")
    assert [(d.device, d.visible, d.memory_mib) for d in lease.devices] == [("gpu-0", "0", 24_000)]
    await second.acquire("r2")
    assert (await second.receive("queued", "r2")).position == 1
    await first.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    assert (await first.receive("renewed", "r1")).ttl_seconds == pytest.approx(1.2, abs=0.2)
    await first.release(lease)
    await first.receive("released", "r1")
    assert (await second.receive("granted", "r2")).token > lease.token


async def test_positions_are_told_with_their_reason(replicas: Replicas) -> None:
    """A waiter hears its place and who is in its way, and again when it moves up."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1", task_id="task-7")
    await waiter.acquire("r2")
    await waiter.acquire("r3")

    async def told(request_id: str, position: int, reason: str) -> None:
        async with asyncio.timeout(5):
            while not any(
                m.queued.request_id == request_id
                and m.queued.position == position
                and m.queued.reason == reason
                for m in waiter.received
            ):
                await asyncio.sleep(0.01)

    await told("r3", 2, "gpu-0 is held by task-7")
    await holder.release(lease)
    await told("r3", 1, "gpu-0 is held by r2")


async def test_what_cannot_be_obeyed_is_refused_and_the_stream_stays(replicas: Replicas) -> None:
    """A wrong field is named; the session goes on."""
    a = await replicas.replica()
    client = await replicas.client(a, "n1")
    for fields, field in (
        ({"memory_mib": -1}, "memory_mib"),
        ({"priority": 101}, "priority"),
        ({"device_count": -1}, "device_count"),
        ({"max_wait_seconds": -1.0}, "max_wait_seconds"),
        ({"user": "u" * 201}, "user"),
    ):
        client.received.clear()
        await client.acquire("bad", **fields)
        refused = await client.receive("refused", "bad")
        assert (refused.code, refused.field) == ("INVALID_ARGUMENT", field)
    await client.send(acquire=lock_pb2.Acquire())
    assert (await client.receive("refused")).field
    await client.granted("good")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": 2**60}, "token"),
        ({"token": -1}, "token"),
        ({"grant_time": Timestamp()}, "grant_time"),
        ({"grant_time": Timestamp(nanos=-1)}, "grant_time"),
    ],
)
async def test_a_wild_reclaim_is_refused(replicas: Replicas, changes: dict[str, Any], field: str) -> None:
    """A token that is reclaimed is the floor of all later ones: one that leaves no room above it is not believed."""
    a = await replicas.replica(monitor={}, initial_state="existing", recovery_window_seconds=30.0)
    client = await replicas.client(a, "n1")
    await client.receive("reclaim_requested")
    good: dict[str, Any] = {"token": 7, "grant_time": Timestamp(seconds=1_700_000_000), "devices": ["gpu-0"]}
    wild = lock_pb2.Reclaim(acquire=lock_pb2.Acquire(request_id="r1"), **{**good, **changes})
    await client.send(reclaim=wild)
    refused = await client.receive("refused", "r1")
    assert (refused.code, refused.field) == ("INVALID_ARGUMENT", field)
    await client.send(reclaim=lock_pb2.Reclaim(acquire=lock_pb2.Acquire(request_id="r1"), **good))
    await client.receive("renewed", "r1")


@pytest.mark.parametrize(
    "first", [lock_pb2.SessionRequest(), lock_pb2.SessionRequest(hello=lock_pb2.Hello())]
)
async def test_the_first_message_is_a_hello(replicas: Replicas, first: lock_pb2.SessionRequest) -> None:
    """A stream that does not say who it is ends with INVALID_ARGUMENT."""
    a = await replicas.replica()
    call = a.channel.locks.Session()
    await call.write(first)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_sessions_are_limited(replicas: Replicas) -> None:
    """One stream too many is RESOURCE_EXHAUSTED, also while nobody has said hello; who comes back is none too many."""
    a = await replicas.replica(monitor={}, max_sessions=2)

    async def silent_are(count: int) -> None:
        async with asyncio.timeout(10):
            while a.replica.hub._greeting != count:
                await asyncio.sleep(0.01)

    silent = [a.channel.locks.Session() for _ in range(2)]
    await silent_are(2)
    third = a.channel.locks.Session()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await third.read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for call in silent:
        call.cancel()
    await silent_are(0)
    for name in ("n1", "n2"):
        await (await replicas.client(a, name)).receive("welcome")
    error = await (await replicas.client(a, "n3")).ended()
    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await (await replicas.client(a, "n2")).granted("r1")


async def test_max_wait_ends_with_the_seeds_code(replicas: Replicas) -> None:
    """A wait that ends without a grant is refused with GPU_LOCK_TIMEOUT, in time."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    await holder.granted("r1")
    await waiter.acquire("r2", max_wait_seconds=0.2)
    refused = await waiter.receive("refused", "r2")
    assert refused.code == "GPU_LOCK_TIMEOUT"
    assert refused.message == "no device became free in time", "whoever shows it puts the code in front"


async def test_a_waiter_that_comes_back_keeps_its_place(replicas: Replicas) -> None:
    """A waiter whose stream breaks finds its place again in time, and is not passed by who came after it."""
    a = await replicas.replica(waiter_grace_seconds=5.0, monitor={})
    holder, late = await replicas.client(a, "n1"), await replicas.client(a, "n3")
    lease = await holder.granted("r1")
    async with a.channel.client("n2") as early:
        await early.acquire("r2")
        await early.receive("queued", "r2")
        await late.acquire("r3")
        await late.receive("queued", "r3")
    again = await replicas.client(a, "n2")
    await again.acquire("r2")
    assert (await again.receive("queued", "r2")).position == 1
    await holder.release(lease)
    await again.receive("granted", "r2")


async def test_a_cancelled_waiter_is_gone(replicas: Replicas) -> None:
    """A cancelled wait is answered and never granted."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    for number in range(20):
        await waiter.acquire(f"w{number}")
        await waiter.send(cancel=lock_pb2.Cancel(request_id=f"w{number}"))
    await waiter.receive("cancelled", "w19")
    await holder.release(lease)
    await holder.granted("r2")
    assert not any(m.HasField("granted") for m in waiter.received)


async def test_real_races_of_cancel_and_grant_leak_nothing(replicas: Replicas) -> None:
    """However a cancellation and a grant cross, the device is free afterwards."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    for number in range(200):
        lease = await holder.granted(f"h{number}")
        await waiter.acquire(f"w{number}")
        await asyncio.gather(
            holder.release(lease), waiter.send(cancel=lock_pb2.Cancel(request_id=f"w{number}"))
        )
        await waiter.receive("cancelled", f"w{number}")
    status = await a.channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())
    assert status.devices[0].leased_mib == 0
    assert status.waiter_count == 0


async def test_a_silent_holder_hears_that_it_has_lost(replicas: Replicas) -> None:
    """Without beats the lease is lost, and the next is granted after the lock delay though nobody confirms."""
    a = await replicas.replica()
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    await waiter.acquire("r2")
    lost = await holder.receive("lost", "r1")
    assert lost.reason == lock_pb2.STOP_REASON_HEARTBEAT
    granted = await waiter.receive("granted", "r2")
    assert granted.token > lease.token
    assert (granted.grant_time.ToMicroseconds() - lease.grant_time.ToMicroseconds()) >= 1_400_000


async def test_two_replicas_serve_one_queue(replicas: Replicas) -> None:
    """A release at one replica is a grant at the other."""
    a, b = await replicas.replica(monitor={}), await replicas.replica(monitor={})
    first, second = await replicas.client(a, "n1"), await replicas.client(b, "n2")
    lease = await first.granted("r0")
    for number in range(1, 20):
        here, there = (second, first) if number % 2 else (first, second)
        await here.acquire(f"r{number}")
        await here.receive("queued", f"r{number}")
        await there.release(lease)
        lease = await here.receive("granted", f"r{number}")


async def test_positions_cross_replicas(replicas: Replicas) -> None:
    """A waiter hears that it moved up although the queue moved at another replica."""
    a, b = await replicas.replica(monitor={}), await replicas.replica(monitor={})
    first, second = await replicas.client(a, "n1"), await replicas.client(b, "n2")
    lease = await first.granted("r0")
    await first.acquire("r1")
    await first.receive("queued", "r1")
    await second.acquire("r2")
    assert (await second.receive("queued", "r2")).position == 2
    await asyncio.sleep(1.0)
    await first.release(lease)
    async with asyncio.timeout(8):
        while not any(m.queued.position == 1 for m in second.received if m.HasField("queued")):
            await asyncio.sleep(0.02)


async def test_a_drained_replica_sends_its_clients_away(replicas: Replicas) -> None:
    """A replica that shuts down ends its sessions with UNAVAILABLE, and the lease goes on at another."""
    a, b = await replicas.replica(monitor={}), await replicas.replica(monitor={})
    client, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await client.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    await a.server.begin_drain()
    error = await client.ended()
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    moved, moved_waiter = await replicas.client(b, "n1"), await replicas.client(b, "n2")
    await moved_waiter.acquire("r2")
    await moved_waiter.receive("queued", "r2")
    await moved.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    await moved.receive("renewed", "r1")
    await moved.release(lease)
    await moved_waiter.receive("granted", "r2")


async def test_a_client_that_does_not_read_is_dropped(replicas: Replicas) -> None:
    """A client that sends and never reads costs a bounded buffer, then its stream; its lease lives on."""
    a = await replicas.replica(monitor={}, session_buffer_messages=16)
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 4096)]
    async with grpc.aio.insecure_channel(a.address, options=narrow) as channel:
        call = lock_pb2_grpc.LockServiceStub(channel).Session()
        await call.write(lock_pb2.SessionRequest(hello=lock_pb2.Hello(client_id="deaf")))
        await call.write(lock_pb2.SessionRequest(acquire=lock_pb2.Acquire(request_id="r1")))
        renew = lock_pb2.SessionRequest(renew=lock_pb2.Renew(request_id="x" * 200, token=1))
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while not call.done() and not a.replica.hub.overruns:
                await call.write(renew)
        async with asyncio.timeout(10):
            while a.replica.hub.sessions:
                await asyncio.sleep(0.01)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call:  # what had been sent
                    pass
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = await a.channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())
    assert [holder.lease.request_id for holder in status.holders] == ["r1"]


async def test_a_newer_session_of_a_client_takes_over(replicas: Replicas) -> None:
    """A client that connects again before its old stream is known to be dead goes on with the new one."""
    a = await replicas.replica(monitor={})
    old = await replicas.client(a, "n1")
    await old.receive("welcome")
    new = await replicas.client(a, "n1")
    await new.receive("welcome")
    assert (await old.ended()) is not None
    await new.granted("r1")


async def test_a_thousand_waiters(replicas: Replicas) -> None:
    """A thousand waiters of one device are all served, in the order of asking."""
    a = await replicas.replica(monitor={})
    clients = [await replicas.client(a, f"n{number}") for number in range(10)]
    holder = await replicas.client(a, "holder")
    lease = await holder.granted("h")
    for number in range(1000):
        client = clients[number % 10]
        await client.acquire(f"w{number}")
        if number % 10 == 9:
            await client.receive("queued", f"w{number}")
    status = await a.channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())
    assert status.waiter_count == 1000
    expected = [waiter.request_id for waiter in status.waiters]
    await holder.release(lease)
    tokens = []
    for request_id in expected:
        client = clients[int(request_id[1:]) % 10]
        granted = await client.receive("granted", request_id, seconds=30)
        tokens.append(granted.token)
        await client.release(granted)
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 1000


@pytest.mark.slow
async def test_idling_costs_redis_next_to_nothing(replicas: Replicas, clean_redis: redis.Redis) -> None:
    """With a holder and a waiter and nothing moving, a replica sends Redis less than one command a second."""
    a = await replicas.replica(monitor={}, replica_ttl_seconds=15.0)
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    await holder.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")

    def sent() -> int:
        stats = clean_redis.info("commandstats")
        names = ("evalsha", "eval", "xread", "xrange", "xrevrange", "lrange")
        return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in names)

    await asyncio.sleep(1.0)  # the first positions and figures
    before = sent()
    await asyncio.sleep(4.0)
    assert sent() - before <= 4


async def test_a_grant_that_nobody_waits_for_is_given_back(
    replicas: Replicas, clean_redis: redis.Redis
) -> None:
    """A store that went back in time grants a request that its client has taken back: the device is free again at once."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    names = [f"{STORE}{name}" for name in ("meta", "req", "dl", "q:default", "turns:default")]
    past: dict[str, Any] = {name: clean_redis.dump(name) for name in names}
    await waiter.send(cancel=lock_pb2.Cancel(request_id="r2"))
    await waiter.receive("cancelled", "r2")
    for name, payload in past.items():
        clean_redis.restore(name, 0, payload, replace=True)
    await holder.release(lease)
    assert (await holder.granted("r3")).token > lease.token
    assert "granted" not in waiter.kinds("r2")
