"""The server factory and the channel beyond single calls: registration, limits, options, drain, interception."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from runtime import call_record, errors
from runtime.channel import RETRIED_METHODS, channel_options, open_channel, service_config
from runtime.rpc_errors import from_status, rpc_errors, to_status, translate
from runtime.server import RpcServer, server_options
from runtime.settings import RuntimeSection, SettingsError
from yivideo.file.v1 import file_pb2
from yivideo.gpulock.v1 import monitor_pb2
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SERVICE = "yivideo.task.v1.TaskService"
ADDER = task_pb2_grpc.add_TaskServiceServicer_to_server


class Servicer(task_pb2_grpc.TaskServiceServicer):
    """Echoes GetTask; GetTask of `odd name` fails with text that UTF-8 cannot say."""

    def __init__(self) -> None:
        self.stream_open = asyncio.Event()
        self.stream_closed = asyncio.Event()
        self.calls = 0

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
        self.calls += 1
        if request.task_id == "silent":
            await asyncio.Event().wait()
        if request.task_id == "odd name":
            raise errors.PathRefused(
                "cannot read clip\udcff.mp4", fields=[errors.FieldViolation("/\udcff", "\udcff")]
            )
        return task_pb2.Task(spec=task_pb2.TaskSpec(task_id=request.task_id))

    async def ListQueues(
        self, request: task_pb2.ListQueuesRequest, context: Any
    ) -> task_pb2.ListQueuesResponse:
        self.calls += 1
        if self.calls < 3:
            raise errors.Unavailable("not yet")
        return task_pb2.ListQueuesResponse()

    async def WatchTask(
        self, request: task_pb2.WatchTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        try:
            while True:
                self.stream_open.set()
                yield task_pb2.TaskEvent(log=task_pb2.TaskLog(message="x" * 2000))
        finally:
            self.stream_closed.set()


@asynccontextmanager
async def served(
    servicer: Any = None, **options: Any
) -> AsyncIterator[tuple[RpcServer, str, task_pb2_grpc.TaskServiceAsyncStub]]:
    settings = RuntimeSection(**{"drain_seconds": 0, **options})
    server = RpcServer(settings)
    server.add(ADDER, servicer or Servicer(), SERVICE)
    async with server.running() as address, open_channel(address, settings) as channel:
        yield server, address, task_pb2_grpc.TaskServiceStub(channel)


async def test_a_stream_that_writes_by_itself_is_refused_when_it_is_registered() -> None:
    """A coroutine in place of an async generator is found at the start of the process, not at the first call."""

    class Wrong(task_pb2_grpc.TaskServiceServicer):
        async def WatchTask(self, request: Any, context: Any) -> None:  # type: ignore[override] # what is wrong with it
            await context.write(task_pb2.TaskEvent())

    with pytest.raises(TypeError, match=r"WatchTask.*async generator"):
        RpcServer(RuntimeSection()).add(ADDER, Wrong(), SERVICE)


@pytest.mark.parametrize("method", ["GetTask", "WatchTask"])
async def test_a_method_that_nobody_wrote_is_unimplemented(method: str) -> None:
    """Unary or streaming, what a room does not offer answers UNIMPLEMENTED and not a fault."""
    async with served(task_pb2_grpc.TaskServiceServicer()) as (_, _, stub):
        with pytest.raises(errors.Unimplemented):
            async with rpc_errors():
                if method == "GetTask":
                    await stub.GetTask(task_pb2.GetTaskRequest())
                else:
                    await stub.WatchTask(task_pb2.WatchTaskRequest(), timeout=5).read()


async def test_an_error_whose_text_is_not_utf8_still_arrives_as_itself() -> None:
    """The odd bytes of a file name do not turn a refused path into an internal error."""
    async with served() as (_, _, stub):
        with pytest.raises(errors.PathRefused, match=r"clip\?\.mp4"):
            async with rpc_errors():
                await stub.GetTask(task_pb2.GetTaskRequest(task_id="odd name"))


async def test_a_stream_that_waits_for_its_client_is_closed_when_the_client_leaves() -> None:
    """Also a handler that is held up in sending (flow control) runs its clean-up at once."""
    servicer = Servicer()
    async with served(servicer) as (_, _, stub):
        call = stub.WatchTask(task_pb2.WatchTaskRequest(), timeout=20)
        await servicer.stream_open.wait()
        await call.read()
        call.cancel()
        await asyncio.wait_for(servicer.stream_closed.wait(), 5)


async def test_a_message_over_the_limit_is_refused_both_ways() -> None:
    """The limit of the receiver holds, and the caller learns RESOURCE_EXHAUSTED."""
    limit = 64 * 1024
    async with served(max_message_bytes=limit) as (_, address, stub):
        fits = await stub.GetTask(task_pb2.GetTaskRequest(task_id="x" * (limit - 100)))
        assert len(fits.spec.task_id) == limit - 100
        generous = RuntimeSection(max_message_bytes=16 * limit)
        async with open_channel(address, generous) as channel:
            with pytest.raises(errors.ResourceExhausted):
                async with rpc_errors():
                    await task_pb2_grpc.TaskServiceStub(channel).GetTask(
                        task_pb2.GetTaskRequest(task_id="x" * (limit + 1))
                    )


async def test_a_deadline_of_nothing_is_a_deadline() -> None:
    """`timeout=0` ends a call at once instead of meaning the default."""
    began = asyncio.get_running_loop().time()
    async with served() as (_, _, stub):
        with pytest.raises(errors.DeadlineExceeded):
            async with rpc_errors():
                await stub.GetTask(task_pb2.GetTaskRequest(task_id="silent"), timeout=0)
    assert asyncio.get_running_loop().time() - began < 5


async def test_reads_are_repeated_and_writes_are_not() -> None:
    """UNAVAILABLE on a read is tried again by the channel; on a write it reaches the caller the first time."""
    servicer = Servicer()
    async with served(servicer) as (_, _, stub):
        await stub.ListQueues(task_pb2.ListQueuesRequest(), timeout=10)
        assert servicer.calls == 3

    class Refusing(Servicer):
        async def SubmitTask(self, request: task_pb2.SubmitTaskRequest, context: Any) -> task_pb2.Task:
            self.calls += 1
            raise errors.Unavailable("not now")

    refusing = Refusing()
    async with served(refusing) as (_, _, stub):
        with pytest.raises(errors.Unavailable):
            async with rpc_errors():
                await stub.SubmitTask(task_pb2.SubmitTaskRequest())
    assert refusing.calls == 1


def test_every_repeated_method_exists_and_only_reads() -> None:
    """A slip in a name would quietly switch the retries off; a write in the list would repeat it."""
    files = (task_pb2, file_pb2, monitor_pb2)
    pool = {name: service for one in files for name, service in one.DESCRIPTOR.services_by_name.items()}
    by_name = {service.full_name: service for service in pool.values()}
    for service, methods in RETRIED_METHODS:
        for method in methods:
            assert method in by_name[service].methods_by_name
            assert method.startswith(("Get", "List", "Stat", "Locate", "Presign", "Verify"))


def test_pings_of_the_channel_are_welcome_at_the_server() -> None:
    """A client that pings more often than the server allows would be sent away with GOAWAY (too_many_pings)."""
    client, server = dict(channel_options(RuntimeSection())), dict(server_options(RuntimeSection()))
    assert client["grpc.keepalive_time_ms"] > server["grpc.http2.min_recv_ping_interval_without_data_ms"]
    for side in (client, server):
        assert side["grpc.keepalive_permit_without_calls"] == 1
        assert 0 < side["grpc.keepalive_timeout_ms"] < side["grpc.keepalive_time_ms"]
        assert 0 < side["grpc.http2.ping_timeout_ms"] <= 10_000
    assert server["grpc.so_reuseport"] == 0  # a second process on the same port must fail, not share it
    assert client["grpc.max_reconnect_backoff_ms"] <= 1_000
    assert client["grpc.enable_http_proxy"] == 0
    assert json.loads(service_config())["methodConfig"][0]["retryPolicy"]["maxAttempts"] <= 5


async def test_an_address_that_is_taken_is_loud() -> None:
    """Two servers cannot share a port without knowing it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = RpcServer(RuntimeSection(listen=f"127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(SettingsError, match=r"runtime\.listen"):
            async with server.running():
                pass


async def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    """On one machine a server can stand on a socket file, again after a process that left its file behind."""
    path = tmp_path / "s.sock"
    for _ in range(2):
        async with served(listen=f"unix:{path}") as (_, address, stub):
            assert address == f"unix:{path}"
            await stub.GetTask(task_pb2.GetTaskRequest())


async def test_reflection_can_be_switched_off() -> None:
    """With it a client lists every service; without it the call is not offered."""

    async def listed(address: str) -> list[str]:
        async with open_channel(address, RuntimeSection()) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            call = stub.ServerReflectionInfo(iter([request]), timeout=5)
            return [service.name for service in (await call.read()).list_services_response.service]

    async with served() as (_, address, _):
        assert set(await listed(address)) == {
            SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
        }  # fmt: skip
    async with (
        served(reflection=False) as (_, address, _),
        open_channel(address, RuntimeSection()) as channel,
    ):
        # Nothing is sent: a message on a call that the server has ended already fails in the library with INTERNAL.
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(()), timeout=5)
        assert await call.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_health_watch_does_not_hold_up_the_drain() -> None:
    """Watches of health end with the drain; with them open the whole grace would pass every time."""
    loop = asyncio.get_running_loop()
    async with (
        served(drain_seconds=30) as (server, address, _),
        open_channel(address, RuntimeSection()) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        began = loop.time()
        await server.drain()
        assert loop.time() - began < 5
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_draining_server_takes_no_new_call() -> None:
    """After the drain the address is closed."""
    async with served() as (server, _, stub):
        await stub.GetTask(task_pb2.GetTaskRequest())
        await server.drain()
        with pytest.raises(errors.Unavailable):
            async with rpc_errors():
                await stub.GetTask(task_pb2.GetTaskRequest(), timeout=5)


async def test_a_peer_whose_details_contradict_its_status_is_believed_in_its_status() -> None:
    """Details that do not fit (a proxy's doing), or are no message at all, fall back to the bare status."""
    other = to_status(errors.TaskNotFound("gone"))
    for trailer in (other.SerializeToString(), b"\xff\xff\xff"):
        error = grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE,
            grpc.aio.Metadata(),
            grpc.aio.Metadata(("grpc-status-details-bin", trailer)),
            details="upstream is down",
        )
        translated = translate(error)
        assert type(translated) is errors.Unavailable
        assert translated.message == "upstream is down"


def test_another_domains_reason_is_not_ours() -> None:
    """An ErrorInfo of another project does not name one of our classes."""
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason="TASK_NOT_FOUND", domain="example.com"))
    status = status_pb2.Status(code=code_pb2.PERMISSION_DENIED, message="no", details=[packed])
    assert type(from_status(status)) is errors.PermissionDenied


async def test_only_our_faults_are_logged_with_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client did wrong, or asked in the wrong place, is one line; a fault of ours is an error with its cause."""

    class Faulty(Servicer):
        async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
            raise {"lost": errors.DataLoss("bytes are gone"), "broken": KeyError("x")}[request.task_id]

    captured = structlog.testing.LogCapture()
    monkeypatch.setattr(call_record, "log", structlog.wrap_logger(None, processors=[captured]))
    async with served(Faulty()) as (_, _, stub):
        for task_id in ("lost", "broken"):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetTask(task_pb2.GetTaskRequest(task_id=task_id))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.SubmitTask(task_pb2.SubmitTaskRequest())
    lines = [(line["log_level"], line["code"], "exc_info" in line) for line in captured.entries]
    assert lines == [
        ("error", "DATA_LOSS", True),
        ("error", "INTERNAL", True),
        ("info", "UNIMPLEMENTED", False),
    ]
