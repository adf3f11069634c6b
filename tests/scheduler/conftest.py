"""Scheduler replicas, nodes and clients on loopback, on one Redis that every test finds empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from results.states import is_terminal
from runtime.channel import open_channel
from runtime.rpc_errors import rpc_errors
from runtime.settings import RuntimeSection
from runtime.structs import to_struct
from scheduler.app import Scheduler, scheduling
from scheduler.queue.keys import Keys
from scheduler.run.dispatcher import Dispatcher
from scheduler.settings import LimitsSection, NodeSection, SchedulerSection, SchedulerSettings
from tests.scheduler.fake_node import FakeNode, serving_node
from tests.scheduler.queue.harness import Queue, running_queue
from tests.scheduler.short_times import PREFIX, SHORT
from yivideo.task.v1 import task_pb2, task_pb2_grpc

RUNTIME = RuntimeSection(metrics_listen="", drain_seconds=0.5, call_timeout_seconds=10)


@pytest.fixture
def clean_redis(redis_url: str) -> Iterator[redis.Redis]:
    """An empty database; after the test, no client is left connected to it but this one."""
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def keys() -> Keys:
    """The names of the keys under test."""
    return Keys(PREFIX)


@dataclass
class Client:
    """A client of one scheduler."""

    stub: task_pb2_grpc.TaskServiceAsyncStub
    scheduler: Scheduler
    address: str

    async def sees(self, replicas: int) -> None:
        """Wait until the scheduler sees so many node replicas."""
        links = self.scheduler.dispatcher
        await until(lambda: sum(link.connected for link in links.links) >= replicas)

    async def submit(
        self, task_id: str = "", task_name: str = "media.extract", **fields: Any
    ) -> task_pb2.Task:
        """Submit a good task; fields are the spec's, `input` a dict."""
        given = to_struct(fields.pop("input", {"video_path": "a.mp4"}))
        spec = task_pb2.TaskSpec(task_id=task_id, task_name=task_name, input=given, **fields)
        async with rpc_errors():
            return await self.stub.SubmitTask(task_pb2.SubmitTaskRequest(spec=spec))

    async def get(self, task_id: str) -> task_pb2.Task:
        async with rpc_errors():
            return await self.stub.GetTask(task_pb2.GetTaskRequest(task_id=task_id))

    async def cancel(self, task_id: str, **fields: Any) -> task_pb2.Task:
        async with rpc_errors():
            return await self.stub.CancelTask(task_pb2.CancelTaskRequest(task_id=task_id, **fields))

    async def watch(self, task_id: str, after: int = 0) -> AsyncIterator[task_pb2.TaskEvent]:
        """Stream events, heartbeats left out."""
        request = task_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
        async with rpc_errors():
            call = self.stub.WatchTask(request)
            try:
                async for event in call:
                    if event.WhichOneof("event") != "heartbeat":
                        yield event
            finally:
                call.cancel()

    async def events(self, task_id: str, after: int = 0, seconds: float = 15.0) -> list[task_pb2.TaskEvent]:
        """All events up to the terminal one."""
        async with asyncio.timeout(seconds), aclosing(self.watch(task_id, after)) as stream:  # type: ignore[type-var]
            return [event async for event in stream]

    async def ended(self, task_id: str, seconds: float = 15.0) -> task_pb2.Task:
        """The task once it has ended."""
        events = await self.events(task_id, seconds=seconds)
        assert is_terminal(events[-1]), events
        return await self.get(task_id)


@asynccontextmanager
async def running_client(settings: SchedulerSettings) -> AsyncIterator[Client]:
    """Run one scheduler for the time of the block; gives a client of it."""
    async with (
        scheduling(settings) as (scheduler, _, address),
        open_channel(address, RUNTIME) as channel,
    ):
        yield Client(task_pb2_grpc.TaskServiceStub(channel), scheduler, address)


@dataclass
class Harness:
    """What a test has started."""

    redis_url: str
    stack: AsyncExitStack
    addresses: dict[str, list[str]]

    async def node(self, fake: FakeNode | None = None, **fields: Any) -> FakeNode:
        """Start a node replica; schedulers started afterwards know it."""
        fake = fake or FakeNode(**fields)
        address = await self.stack.enter_async_context(serving_node(fake))
        self.addresses.setdefault(fake.node, []).append(address)
        return fake

    def settings(self, **changed: Any) -> SchedulerSettings:
        """Settings of a scheduler that knows the nodes so far."""
        nodes = tuple(
            NodeSection(node=name, addresses=tuple(found)) for name, found in self.addresses.items()
        )
        section = SchedulerSection(**{"redis_url": self.redis_url, "nodes": nodes, **SHORT, **changed})
        return SchedulerSettings(runtime=RUNTIME, scheduler=section)

    async def scheduler(self, *, ready: int = -1, **changed: Any) -> Client:
        """Start a scheduler replica and wait until it sees `ready` node replicas (default: all)."""
        client = await self.stack.enter_async_context(running_client(self.settings(**changed)))
        wanted = sum(len(found) for found in self.addresses.values()) if ready < 0 else ready
        await client.sees(wanted)
        return client


class _Withheld(Dispatcher):
    """A dispatcher that may own nothing, whatever its lease keeper finds."""

    may_own = property(lambda self: False, lambda self, value: None)


def claim_nothing(scheduler: Scheduler) -> Callable[[], None]:
    """Have a scheduler claim and adopt nothing until what is returned is called; its beats alone would let it again."""
    dispatcher = scheduler.dispatcher
    dispatcher.__class__ = _Withheld

    def again() -> None:
        dispatcher.__class__ = Dispatcher

    return again


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def harness(redis_url: str, clean_redis: redis.Redis) -> AsyncIterator[Harness]:
    """A harness without anything, torn down after the test."""
    async with AsyncExitStack() as stack:
        yield Harness(redis_url, stack, {})


@pytest.fixture
async def queue(redis_url: str, clean_redis: redis.Redis) -> AsyncIterator[Queue]:
    """The stores of a scheduler replica, with low limits."""
    limits = LimitsSection(max_running_per_user=2, max_queued_per_user=5, max_queued=8)
    async with running_queue(redis_url, clean_redis, "s1", limits=limits) as made:
        yield made


@pytest.fixture
async def other(redis_url: str, queue: Queue) -> AsyncIterator[Queue]:
    """Those of another one on the same Redis."""
    async with running_queue(redis_url, queue.raw, "s2") as made:
        yield made
