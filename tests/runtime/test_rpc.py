"""The gRPC server factory and the channel: errors, ids, token, health, drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from pydantic import SecretStr

from runtime import context as ids
from runtime import errors
from runtime.channel import open_channel
from runtime.rpc_errors import MAX_MESSAGE_BYTES, rpc_errors, to_status
from runtime.server import RpcServer
from runtime.settings import RuntimeSection, SettingsError
from runtime.streamed import streamed
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SERVICE = task_pb2.DESCRIPTOR.services_by_name["TaskService"].full_name


class Servicer(task_pb2_grpc.TaskServiceServicer):
    """A real servicer whose behaviour a test passes in."""

    def __init__(self, get_task: Callable[[], Any] | None = None) -> None:
        self._get_task = get_task or (lambda: task_pb2.Task())
        self.closed = asyncio.Event()

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
        task: task_pb2.Task = self._get_task()
        return task

    async def WatchTask(
        self, request: task_pb2.WatchTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        try:
            yield task_pb2.TaskEvent(sequence=1)
            if request.task_id == "bad":
                raise errors.TaskNotFound("no task bad")
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@asynccontextmanager
async def served(servicer: Servicer, **options: Any) -> AsyncIterator[tuple[RpcServer, str, RuntimeSection]]:
    settings = RuntimeSection(drain_seconds=0, **options)
    server = RpcServer(settings)
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, servicer, SERVICE)
    async with server.running() as address:
        yield server, address, settings


def raising(error: Exception) -> Callable[[], Any]:
    def behave() -> Any:
        raise error

    return behave


@pytest.mark.parametrize("kind", sorted(set(errors.class_by_code().values()), key=attrgetter("code")))
async def test_every_error_crosses_the_wire_as_itself(kind: type[errors.YiVideoError]) -> None:
    """An error raised by a servicer is the same class, text, fields and delay at the caller."""
    sent = kind("it broke", fields=[errors.FieldViolation("/input/a", "is odd")], retry_after_seconds=1.5)
    async with (
        served(Servicer(raising(sent))) as (_, address, settings),
        open_channel(address, settings) as channel,
    ):
        with pytest.raises(errors.YiVideoError) as caught:
            async with rpc_errors():
                await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.fields, caught.value.retry_after_seconds) == (
        "it broke", (errors.FieldViolation("/input/a", "is odd"),), 1.5,
    )  # fmt: skip


def test_a_kind_without_a_code_of_its_own_stands_for_none() -> None:
    """Whoever tells two causes of one code apart by a class of theirs changes nothing for those who read the code."""
    before = errors.class_by_code()

    class Worse(errors.WrongState):
        """Inherits its code."""

    assert errors.class_by_code() == before
    assert before[Worse.code] is errors.WrongState


@pytest.mark.parametrize("method", ["GetTask", "WatchTask"])
async def test_bytes_that_are_no_message_are_the_callers_fault(method: str) -> None:
    """What cannot be read as the call's request is INVALID_ARGUMENT with a stable code, for unary and streaming calls."""
    async with (
        served(Servicer()) as (_, address, settings),
        open_channel(address, settings) as channel,
    ):
        with pytest.raises(errors.InvalidArgument, match="not a message"):
            async with rpc_errors():
                if method == "GetTask":
                    call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
                    await call(b"\xff\xff", timeout=5)
                else:
                    stream: Any = channel.unary_stream(f"/{SERVICE}/{method}")
                    async for _ in stream(b"\xff\xff", timeout=5):
                        pass


async def test_a_fault_of_ours_does_not_show_its_text() -> None:
    """An unexpected exception reaches the peer as INTERNAL with the request id and nothing of its message."""
    servicer = Servicer(raising(RuntimeError("password=hunter2")))
    async with served(servicer) as (_, address, settings), open_channel(address, settings) as channel:
        with ids.bound(request="req-1"), pytest.raises(errors.Internal) as caught:
            async with rpc_errors():
                await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())
    assert "hunter2" not in caught.value.message
    assert "req-1" in caught.value.message


@pytest.mark.parametrize(
    "error",
    [
        errors.WrongState("é" * 100_000),
        errors.WrongState("%" * 100_000),
        errors.InvalidArgument("x" * 3_000, fields=[errors.FieldViolation("/é" * 200, "y" * 900)] * 40),
    ],
    ids=["accents", "per cent signs", "many fields"],
)
async def test_a_very_long_error_is_cut_not_lost(error: errors.YiVideoError) -> None:
    """What is far past the trailer limit still arrives as its own class: always, not only mostly.

    Between 8 and 16 KiB a client refuses trailers at random, so they must stay below.
    """
    async with served(Servicer(raising(error))) as (_, address, settings):
        async with open_channel(address, settings) as channel:
            with pytest.raises(type(error)) as caught:
                async with rpc_errors():
                    await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())
    assert 200 < len(caught.value.message.encode()) <= MAX_MESSAGE_BYTES
    assert bool(caught.value.fields) is bool(error.fields)
    status = rpc_status.to_status(to_status(error))
    trailers = sum(len(name) + len(value) for name, value in status.trailing_metadata)
    assert trailers + len(quote(status.details)) < 8192


async def test_an_error_in_a_stream_arrives_after_its_messages() -> None:
    """A streaming handler may yield and then raise; the caller sees both in order."""
    async with served(Servicer()) as (_, address, settings), open_channel(address, settings) as channel:
        seen = []
        with pytest.raises(errors.TaskNotFound):
            async with rpc_errors():
                request = task_pb2.WatchTaskRequest(task_id="bad")
                async for event in task_pb2_grpc.TaskServiceStub(channel).WatchTask(request, timeout=10):
                    seen.append(event.sequence)
    assert seen == [1]


async def test_a_stream_whose_client_leaves_is_closed() -> None:
    """Cancelling a watch runs the handler's clean-up."""
    servicer = Servicer()
    async with served(servicer) as (_, address, settings), open_channel(address, settings) as channel:
        call = task_pb2_grpc.TaskServiceStub(channel).WatchTask(task_pb2.WatchTaskRequest(), timeout=10)
        await call.read()
        call.cancel()
        await asyncio.wait_for(servicer.closed.wait(), 5)


async def test_the_token_is_required_where_one_is_set() -> None:
    """Without the token a call is refused; with it, it passes; probes need none."""
    async with served(Servicer(), token=SecretStr("s3cret")) as (_, address, settings):
        bare = settings.model_copy(update={"token": None})
        wrong = settings.model_copy(update={"token": SecretStr("other")})
        for refused in (bare, wrong):
            async with open_channel(address, refused) as channel:
                with pytest.raises(errors.Unauthenticated):
                    async with rpc_errors():
                        await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())
                health = health_pb2_grpc.HealthStub(channel)
                answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        async with open_channel(address, settings) as channel:
            await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())


async def test_ids_travel_with_a_call() -> None:
    """The caller's request id and trace are the handler's; a hostile id is replaced."""
    seen: list[tuple[str, str]] = []

    def note() -> task_pb2.Task:
        seen.append((ids.request_id.get(), ids.trace_id()))
        return task_pb2.Task()

    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with served(Servicer(note)) as (_, address, settings), open_channel(address, settings) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)
        with ids.bound(request="req-7", trace=trace):
            await stub.GetTask(task_pb2.GetTaskRequest())
        with ids.bound(request="x" * 500):
            await stub.GetTask(task_pb2.GetTaskRequest())
    assert seen[0] == ("req-7", "a" * 32)
    assert len(seen[1][0]) == 32


async def test_drain_turns_health_before_it_ends_calls() -> None:
    """A watcher of health learns NOT_SERVING while the server still answers."""
    async with served(Servicer()) as (server, address, settings), open_channel(address, settings) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=10
        )
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await server.begin_drain()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())
        watch.cancel()


async def test_a_unary_call_has_a_deadline_by_default() -> None:
    """A call to a server that never answers ends with DeadlineExceeded."""

    class Silent(Servicer):
        async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

    async with served(Silent()) as (_, address, settings):
        impatient = settings.model_copy(update={"call_timeout_seconds": 0.2})
        async with open_channel(address, impatient) as channel:
            with pytest.raises(errors.DeadlineExceeded):
                async with rpc_errors():
                    await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest())


def test_a_reachable_address_needs_a_token_or_tls() -> None:
    """A server that others can reach refuses to start open."""
    with pytest.raises(SettingsError, match=r"runtime\.token"):
        RpcServer(RuntimeSection(listen="0.0.0.0:0"))


async def test_what_a_server_does_not_offer_is_unimplemented() -> None:
    """A method without a handler body answers UNIMPLEMENTED."""
    async with served(Servicer()) as (_, address, settings), open_channel(address, settings) as channel:
        with pytest.raises(errors.Unimplemented):
            async with rpc_errors():
                await task_pb2_grpc.TaskServiceStub(channel).ListQueues(task_pb2.ListQueuesRequest())


def test_every_grpc_status_has_a_class() -> None:
    """Every status but OK maps to a class whose own status is that one, or to Internal."""
    for status in grpc.StatusCode:
        if status is grpc.StatusCode.OK:
            continue
        kind = errors.class_by_status(status)
        assert kind.grpc_status is status or kind is errors.Internal


async def test_a_stream_that_is_left_ends_at_once() -> None:
    """Whoever leaves the block of a streaming call ends it, also while something else still knows the call."""
    servicer = Servicer()
    async with served(servicer) as (_, address, settings), open_channel(address, settings) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)
        with streamed(stub.WatchTask(task_pb2.WatchTaskRequest())) as call:
            async for _event in call:
                break
        await asyncio.wait_for(servicer.closed.wait(), 10)
        assert call.cancelled()
