"""KEDA's external scaler: what a node is scaled by, from zero and back, over KEDA's own contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
import redis
from pydantic import SecretStr

from runtime.channel import open_channel
from runtime.errors import InvalidArgument, NotFound, ResourceExhausted, Unauthenticated, Unavailable
from runtime.rpc_errors import rpc_errors
from scheduler.api import node_load
from scheduler.app import scheduling
from scheduler.queue.keys import Keys
from tests.scheduler.conftest import RUNTIME, Client, Harness, until
from tests.scheduler.fake_node import FakeNode, serving_node
from yivideo.keda.v1 import external_scaler_pb2 as keda
from yivideo.keda.v1 import external_scaler_pb2_grpc
from yivideo.task.v1 import task_pb2, task_pb2_grpc

METRIC = "yivideo-tasks-media"


def scaled(**metadata: str) -> keda.ScaledObjectRef:
    """A trigger as KEDA sends it: its own entries beside ours."""
    return keda.ScaledObjectRef(
        name="media", namespace="yivideo", scaler_metadata={"scalerAddress": "scheduler:50051", **metadata}
    )


MEDIA = scaled(node="media", tasksPerReplica="2")


class Scaler:
    """KEDA's side of the contract."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = external_scaler_pb2_grpc.ExternalScalerStub(channel)

    async def active(self, ref: keda.ScaledObjectRef = MEDIA) -> bool:
        async with rpc_errors():
            return bool((await self._stub.IsActive(ref)).result)

    async def tasks(self, ref: keda.ScaledObjectRef = MEDIA, metric: str = METRIC) -> float:
        request = keda.GetMetricsRequest(scaled_object_ref=ref, metric_name=metric)
        async with rpc_errors():
            (value,) = (await self._stub.GetMetrics(request)).metric_values
        assert value.metric_name == METRIC and value.metric_value == value.metric_value_float
        return float(value.metric_value_float)

    async def spec(self, ref: keda.ScaledObjectRef = MEDIA) -> tuple[str, int, float]:
        async with rpc_errors():
            (spec,) = (await self._stub.GetMetricSpec(ref)).metric_specs
        return spec.metric_name, spec.target_size, spec.target_size_float

    async def changes(self, ref: keda.ScaledObjectRef = MEDIA) -> AsyncIterator[bool]:
        async with rpc_errors():
            async for answer in self._stub.StreamIsActive(ref):
                yield answer.result


@asynccontextmanager
async def scaler_of(client: Client) -> AsyncIterator[Scaler]:
    async with open_channel(client.address, RUNTIME) as channel:
        yield Scaler(channel)


async def test_what_waits_and_what_runs_is_counted_until_it_has_ended(harness: Harness) -> None:
    """Idle: 0 and not active; queued: active; running with an empty queue: counted as much as before; ended: 0 again."""
    node = await harness.node()
    client = await harness.scheduler()
    async with scaler_of(client) as scaler:
        assert (await scaler.active(), await scaler.tasks()) == (False, 0)
        assert await scaler.spec() == (METRIC, 2, 2.0)
        for name in ("one", "two", "three"):
            await client.submit(name)
        running = await node.arrival("one")
        assert (await scaler.active(), await scaler.tasks()) == (True, 3)
        await client.submit("later", delay_seconds=600)
        await client.cancel("two")
        await client.cancel("three")
        assert (await scaler.active(), await scaler.tasks()) == (True, 1), "running only"
        node.draining = True  # it was chosen to go and finishes first
        await node.notify()
        assert (await scaler.active(), await scaler.tasks()) == (True, 1)
        await running.complete()
        await client.ended("one")
        assert (await scaler.active(), await scaler.tasks()) == (False, 0), "a start time is not now"


async def test_a_node_that_drains_hands_back_and_its_task_is_counted_all_the_while(harness: Harness) -> None:
    """From running to ready again: never 0 between, and the attempt does not count."""
    node = await harness.node()
    client = await harness.scheduler()
    async with scaler_of(client) as scaler:
        await client.submit("handed")
        here = await node.arrival("handed")
        node.draining = True
        await node.notify()
        await here.say(handed_back=task_pb2.TaskHandedBack())
        seen = set()
        async with asyncio.timeout(5):
            while (await client.get("handed")).state != task_pb2.TASK_STATE_PENDING:
                seen.add(await scaler.tasks())
        assert seen <= {1.0} and await scaler.tasks() == 1 and await scaler.active()
        assert (await client.get("handed")).worker_lost_count == 0


async def test_a_node_goes_to_zero_and_comes_back_for_its_work(
    harness: Harness, free_port: Callable[[], int]
) -> None:
    """A loop that does what KEDA does, with the stream as its only news: replicas 0 → 1 → 0 → 1, and every task is done."""
    listen = f"127.0.0.1:{free_port()}"
    harness.addresses["media"] = [listen]
    client = await harness.scheduler(ready=0)
    replicas: list[int] = []

    async def scale(scaler: Scaler) -> None:
        async with AsyncExitStack() as stack:
            running: AsyncExitStack | None = None
            stack.push_async_callback(lambda: running.aclose() if running else asyncio.sleep(0))
            async for active in scaler.changes():
                if active and running is None:
                    running = AsyncExitStack()
                    await running.enter_async_context(serving_node(FakeNode(auto=True), listen))
                elif not active and running is not None:
                    await running.aclose()
                    running = None
                replicas.append(int(running is not None))

    async with scaler_of(client) as scaler, asyncio.timeout(30):
        assert await scaler.active() and await scaler.tasks() == 0, "it has never said what it can do"
        scaling = asyncio.create_task(scale(scaler))
        try:
            await until(lambda: replicas and replicas[-1] == 0)
            assert 1 in replicas, "it was there once"
            await until(lambda: not client.scheduler.dispatcher.offers("media.extract"))
            assert (await client.submit("from-zero")).state == task_pb2.TASK_STATE_PENDING
            assert (await client.ended("from-zero")).state == task_pb2.TASK_STATE_COMPLETED
            await until(lambda: replicas[-1] == 0)
        finally:
            scaling.cancel()
            await asyncio.gather(scaling, return_exceptions=True)


async def test_a_task_wakes_a_stream_at_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitted here or at another replica, it is news within a moment, not at the next look."""
    monkeypatch.setattr(node_load, "_LOOK_SECONDS", 60.0)
    node = await harness.node()
    first, second = await harness.scheduler(), await harness.scheduler()
    node.full = True
    node.draining = True
    await node.notify()
    await until(lambda: not first.scheduler.dispatcher.offers("media.extract"))
    async with scaler_of(first) as here, scaler_of(second) as there, asyncio.timeout(10):
        streams = [here.changes(), there.changes()]
        assert [await anext(stream) for stream in streams] == [False, False]
        await second.submit("news")
        assert [await anext(stream) for stream in streams] == [True, True]


async def test_refusals_say_what_is_wrong(harness: Harness) -> None:
    """A node that is not there, metadata that names none, a figure that is another's: each with its own words."""
    await harness.node()
    client = await harness.scheduler()
    async with scaler_of(client) as scaler:
        with pytest.raises(NotFound, match=r"no node 'painter' here; there are: media"):
            await scaler.active(scaled(node="painter"))
        with pytest.raises(NotFound):
            await anext(scaler.changes(scaled(node="painter")))
        with pytest.raises(InvalidArgument, match="must name a node"):
            await scaler.spec(scaled())
        for size in ("0", "257", "two", "1.5", "-1", "٣"):
            with pytest.raises(InvalidArgument, match="tasksPerReplica"):
                await scaler.spec(scaled(node="media", tasksPerReplica=size))
        with pytest.raises(InvalidArgument, match="the figure yivideo-tasks-media alone"):
            await scaler.tasks(metric="s0-cpu")


async def test_streams_are_bounded_and_end_when_the_scheduler_stops(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is refused; one that ends makes room; a drain ends all, and nothing is left behind."""
    monkeypatch.setattr(node_load, "MAX_STREAMS", 1)
    await harness.node()
    settings = harness.settings(watch_heartbeat_seconds=0.1)
    async with (
        scheduling(settings) as (scheduler, server, address),
        open_channel(address, RUNTIME) as channel,
    ):
        scaler = Scaler(channel)
        stream = scaler.changes()
        await anext(stream)
        with pytest.raises(ResourceExhausted):
            await anext(scaler.changes())
        await server.begin_drain()
        with pytest.raises(Unavailable):
            async with asyncio.timeout(5):
                async for _ in stream:
                    pass
        await until(lambda: not scheduler.loads._followers)


async def test_kedas_calls_need_the_token_unless_the_scaler_is_open(harness: Harness) -> None:
    """KEDA cannot show it: refused by default; open, these calls alone go without."""
    await harness.node()
    for is_open in (False, True):
        settings = harness.settings(scaler_open=is_open)
        runtime = RUNTIME.model_copy(update={"token": SecretStr("t" * 32)})
        async with (
            scheduling(settings.model_copy(update={"runtime": runtime})) as (_, _, address),
            open_channel(address, RUNTIME) as channel,
        ):
            scaler = Scaler(channel)
            if is_open:
                await scaler.active()
            else:
                with pytest.raises(Unauthenticated):
                    await scaler.active()
            with pytest.raises(Unauthenticated):
                await Client(task_pb2_grpc.TaskServiceStub(channel), None, address).get("x")  # type: ignore[arg-type]


async def test_types_of_a_node_at_zero_are_not_forgotten(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """Away for ever so long it keeps them; what it comes back without is forgotten after its time."""
    node = await harness.node()
    client = await harness.scheduler(forget_types_seconds=60)
    availability = client.scheduler.availability
    await availability.refresh()
    node.draining = True
    await node.notify()
    await until(lambda: not client.scheduler.dispatcher.offers("media.extract"))
    clean_redis.hset(keys.seen, mapping={"media.extract": 1, "media.split": 1})
    await availability.refresh()
    assert clean_redis.hkeys(keys.types) and len(clean_redis.hkeys(keys.types)) == 2
    clean_redis.hset(keys.seen, "media.extract", 120_000)
    await availability.refresh()
    assert clean_redis.hkeys(keys.types) == [b"media.extract"]
