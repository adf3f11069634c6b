"""Every test of this folder runs against both arbiters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.gpulock.conformance.arbiters import Arbiter, SessionClient, in_process, over_redis
from tests.gpulock.replicas import Replicas
from yivideo.gpulock.v1 import lock_pb2


class Bench:
    """One arbiter and its clients; they end with the test."""

    def __init__(self, arbiter: Arbiter, stack: AsyncExitStack) -> None:
        self.arbiter = arbiter
        self._stack = stack

    async def client(self, client_id: str = "n1") -> SessionClient:
        """Open a session that was welcomed."""
        client = self.stranger(lock_pb2.SessionRequest(hello=lock_pb2.Hello(client_id=client_id)))
        await client.settled()
        return client

    def stranger(self, first: lock_pb2.SessionRequest) -> SessionClient:
        """Open a stream that begins with any message."""
        client = SessionClient(self.arbiter.open, first)
        self._stack.push_async_callback(client.aclose)
        return client


StartArbiter = Callable[..., Awaitable[Bench]]


@pytest.fixture(params=["in process", "over Redis"])
async def start(request: pytest.FixtureRequest) -> AsyncIterator[StartArbiter]:
    """Return a function that starts an arbiter of so many devices, with the rules that both know."""
    redis_url = ""
    if request.param == "over Redis":
        request.getfixturevalue("clean_redis")
        redis_url = request.getfixturevalue("redis_url")
    async with AsyncExitStack() as stack:

        async def begin(devices: int = 1, **rules: Any) -> Bench:
            if not redis_url:
                return Bench(in_process(devices, rules), stack)
            return Bench(await over_redis(stack, Replicas(redis_url, stack), devices, rules), stack)

        yield begin
