"""Many clients of two replicas on one device, while the connections to Redis break, stand still, or the store trips."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import grpc
import pytest
import redis

from tests.gpulock.conftest import STORE
from tests.gpulock.lock_client import NodeClient
from tests.gpulock.replicas import Replicas, Running
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2

_BROKEN = (grpc.aio.AioRpcError, AssertionError, asyncio.InvalidStateError)
_TURNS = 60
_ANSWER_SECONDS = 10.0


class Worker:
    """A client that takes the device again and again, and opens another session whenever its own has ended."""

    def __init__(self, name: str, replicas: list[Running], journal: list[tuple[str, int]]) -> None:
        self._name = name
        self._replicas = replicas
        self._journal = journal
        self._stack = AsyncExitStack()
        self._client: NodeClient | None = None

    async def _open(self) -> NodeClient:
        if self._client is None or self._client.error is not None or self._client._reading.done():
            await self._stack.aclose()
            channel = random.choice(self._replicas).channel
            self._client = await self._stack.enter_async_context(channel.client(self._name))
        return self._client

    async def _until(self, kind: str, request_id: str, **message: object) -> lock_pb2.Lease:
        """Repeat a message over new sessions until it is answered; a waiter that is left alone for long is a lost one."""
        while True:
            try:
                client = await self._open()
                await client.send(**message)
                answer: lock_pb2.Lease = await client.receive(kind, request_id, seconds=_ANSWER_SECONDS)
                return answer
            except _BROKEN:
                await asyncio.sleep(0.02)

    async def run(self) -> None:
        """Take turns."""
        for number in range(_TURNS):
            one = f"{self._name}-{number}"
            lease = await self._until("granted", one, acquire=lock_pb2.Acquire(request_id=one))
            self._journal.append(("in", lease.token))
            await asyncio.sleep(0.002)
            self._journal.append(("out", lease.token))
            await self._until("released", one, release=lock_pb2.Release(request_id=one, token=lease.token))
        await self._stack.aclose()


def strike(store: redis.Redis, trouble: str) -> None:
    """Do harm, once."""
    if trouble == "connections":
        store.client_kill_filter(_type="normal", skipme=True)
    elif trouble == "pauses":
        store.client_pause(random.choice([50, 300, 1300]))
    else:
        store.hset(f"{STORE}meta", mapping={"runid": "f" * 40, "replid": "f" * 40})


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["connections", "pauses", "trips"])
async def test_nobody_is_lost_and_no_two_hold(
    replicas: Replicas, clean_redis: redis.Redis, trouble: str
) -> None:
    """Whatever becomes of the connections, every request is served in the end, one holder at a time, under tokens that rise."""
    times = {"replica_ttl_seconds": 3.0, "waiter_grace_seconds": 5.0, "recovery_window_seconds": 0.3}
    monitor = {"heartbeat": {"interval": 2.0, "timeout": 30.0}}
    running = [await replicas.replica(monitor=monitor, **times) for _ in range(2)]
    journal: list[tuple[str, int]] = []
    workers = [asyncio.create_task(Worker(f"n{number}", running, journal).run()) for number in range(6)]
    while not all(worker.done() for worker in workers):
        await asyncio.wait(workers, timeout=random.uniform(0.1, 0.6))
        await asyncio.to_thread(strike, clean_redis, trouble)
    await asyncio.gather(*workers)
    assert [word for word, _ in journal] == ["in", "out"] * (6 * _TURNS)
    tokens = [token for word, token in journal if word == "in"]
    assert tokens == sorted(set(tokens))
    status = await running[0].channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())
    assert not status.holders
    assert not status.waiters
