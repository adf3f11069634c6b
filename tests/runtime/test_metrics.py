"""The Prometheus endpoint, scraped for real."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics
from runtime.channel import open_channel
from runtime.errors import InvalidArgument, TaskNotFound
from runtime.rpc_errors import rpc_errors
from runtime.server import RpcServer
from runtime.settings import RuntimeSection, SettingsError
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SERVICE = "yivideo.task.v1.TaskService"


class Servicer(task_pb2_grpc.TaskServiceServicer):
    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
        if request.task_id == "missing":
            raise TaskNotFound("no such task")
        return task_pb2.Task()

    async def WatchTask(
        self, request: task_pb2.WatchTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        yield task_pb2.TaskEvent()


async def scrape(port: int) -> dict[tuple[str, frozenset[str]], float]:
    """All samples by name and label values."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_calls_are_counted_and_timed() -> None:
    """After calls the endpoint tells how many began, how they ended by code, and how long they took."""
    settings = RuntimeSection(drain_seconds=0)
    server = RpcServer(settings)
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, Servicer(), SERVICE)
    with metrics.metrics_endpoint("127.0.0.1:0") as port:
        before = await scrape(port)
        async with server.running() as address, open_channel(address, settings) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            await stub.GetTask(task_pb2.GetTaskRequest())
            with pytest.raises(TaskNotFound):
                async with rpc_errors():
                    await stub.GetTask(task_pb2.GetTaskRequest(task_id="missing"))
            assert [event async for event in stub.WatchTask(task_pb2.WatchTaskRequest(), timeout=5)]
        after = await scrape(port)

    def grown(name: str, *labels: str) -> float:
        key = (name, frozenset(labels))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("grpc_server_started_total", SERVICE, "GetTask") == 2
    assert grown("grpc_server_handled_total", SERVICE, "GetTask", "OK") == 1
    assert grown("grpc_server_handled_total", SERVICE, "GetTask", "NOT_FOUND") == 1
    assert grown("grpc_server_handled_total", SERVICE, "WatchTask", "OK") == 1
    assert grown("grpc_server_handling_seconds_count", SERVICE, "GetTask") == 2


async def test_unknown_methods_make_no_labels() -> None:
    """A client cannot fill the endpoint with names that it makes up."""
    settings = RuntimeSection(drain_seconds=0)
    server = RpcServer(settings)
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, Servicer(), SERVICE)
    async with server.running() as address, open_channel(address, settings) as channel:
        with pytest.raises(Exception, match="UNIMPLEMENTED"):
            made_up: Any = channel.unary_unary(f"/{SERVICE}/MadeUp")
            await made_up(b"")
    with metrics.metrics_endpoint("127.0.0.1:0") as port:
        assert not [labels for _, labels in await scrape(port) if "MadeUp" in labels]


async def test_a_blocked_loop_shows() -> None:
    """How late the loop's timer ran is observed, in seconds."""

    def observed(part: str) -> float:
        return REGISTRY.get_sample_value(f"yivideo_event_loop_lag_seconds_{part}") or 0.0

    counted, summed = observed("count"), observed("sum")
    times = iter([0.0, 0.001 + 3.0])  # the clock jumps three seconds past the timer
    with pytest.raises(
        RuntimeError, match="StopIteration"
    ):  # the watch ends when its clock has no more to say
        await metrics.watch_loop_lag(0.001, lambda: next(times))
    assert observed("count") == counted + 1
    assert observed("sum") - summed == pytest.approx(3.0)


def test_an_empty_address_means_no_endpoint() -> None:
    """Metrics can be switched off."""
    with metrics.metrics_endpoint("") as port:
        assert port == 0


def test_the_endpoint_ends_with_its_block(free_port: Callable[[], int]) -> None:
    """The port is free again afterwards, and an address that is none is refused."""
    port = free_port()
    with metrics.metrics_endpoint(f"127.0.0.1:{port}") as given:
        assert given == port
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with pytest.raises(InvalidArgument), metrics.metrics_endpoint("nonsense"):
        pass


@pytest.mark.trial("10.4")
async def test_an_address_that_another_has_is_said_as_a_setting(free_port: Callable[[], int]) -> None:
    """Of the figures and of the gRPC server: the setting's name and the address, not a traceback."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        taken = "{}:{}".format(*other.getsockname())
        with pytest.raises(SettingsError, match=f"runtime.metrics_listen: .*{taken}"):
            with metrics.metrics_endpoint(taken):
                pytest.fail("two have it")
        with pytest.raises(SettingsError, match=f"runtime.listen: .*{taken}"):
            async with RpcServer(RuntimeSection(listen=taken)).running():
                pytest.fail("two have it")
