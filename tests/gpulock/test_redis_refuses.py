"""A Redis that answers, but not with what was asked: the lock service waits for better times and loses nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import redis

from tests.gpulock.lock_client import NodeClient
from tests.gpulock.replicas import Replicas, Running
from yivideo.gpulock.v1 import lock_pb2


async def one_holds_and_one_waits(
    replicas: Replicas, a: Running
) -> tuple[NodeClient, lock_pb2.Lease, NodeClient]:
    """Have `r1` hold the device and `r2` wait for it; gives the holder, its lease, and the waiter."""
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    return holder, lease, waiter


async def comes_back_and_gives_back(replicas: Replicas, a: Running, lease: lock_pb2.Lease) -> None:
    """The holder of `r1` opens another session, finds its lease good, and gives it back."""
    again = await replicas.client(a, "n1")
    await again.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    await again.receive("renewed", "r1")
    await again.release(lease)


async def test_a_full_redis_is_waited_for(replicas: Replicas, clean_redis: redis.Redis) -> None:
    """While Redis has no memory left calls are answered UNAVAILABLE; then the holder's lease and the waiter's place are there."""
    a = await replicas.replica(monitor={}, redis_retry_seconds=0.3, replica_ttl_seconds=0.9)
    holder, lease, waiter = await one_holds_and_one_waits(replicas, a)
    clean_redis.config_set("maxmemory", "1")
    try:
        await holder.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
        error = await holder.ended()
        await asyncio.sleep(0.6)  # some turns of the sweeper
    finally:
        clean_redis.config_set("maxmemory", "0")
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    await comes_back_and_gives_back(replicas, a, lease)
    await waiter.receive("granted", "r2")


async def test_a_primary_that_became_a_replica_is_waited_for(
    replicas: Replicas, clean_redis: redis.Redis
) -> None:
    """READONLY passes: promoted again, the store asks for what it may have forgotten, and the waiter is served."""
    a = await replicas.replica(
        monitor={}, redis_retry_seconds=0.3, replica_ttl_seconds=0.9, recovery_window_seconds=1.0
    )
    holder, lease, waiter = await one_holds_and_one_waits(replicas, a)
    command: Any = clean_redis.execute_command
    command("REPLICAOF", "127.0.0.1", "1")
    try:
        await holder.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
        error = await holder.ended()
    finally:
        command("REPLICAOF", "NO", "ONE")
    assert error is not None
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    await comes_back_and_gives_back(replicas, a, lease)
    assert (await waiter.receive("granted", "r2")).token > lease.token


async def test_forgotten_scripts_are_told_again(replicas: Replicas, clean_redis: redis.Redis) -> None:
    """FUNCTION FLUSH between two messages is noticed by nobody."""
    a = await replicas.replica(monitor={})
    holder, waiter = await replicas.client(a, "n1"), await replicas.client(a, "n2")
    lease = await holder.granted("r1")
    clean_redis.function_flush("SYNC")
    await waiter.acquire("r2")
    await waiter.receive("queued", "r2")
    clean_redis.function_flush("SYNC")
    await holder.release(lease)
    await holder.receive("released", "r1")
    await waiter.receive("granted", "r2")
