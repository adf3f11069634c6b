"""SubmitTasks: many submissions over one stream keep the laws that each keeps as a SubmitTask of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
import redis
from google.rpc import error_details_pb2, status_pb2

from runtime import context as ids
from runtime import metrics
from runtime.channel import open_channel
from runtime.errors import InvalidArgument, YiVideoError
from runtime.rpc_errors import from_status, rpc_errors
from runtime.server import RpcServer
from runtime.structs import to_struct
from scheduler.api import submitting
from tests.scheduler.conftest import RUNTIME, Client, Harness, until
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2 as pb
from yivideo.task.v1 import task_pb2_grpc

Outcome = pb.Task | YiVideoError


class Stream:
    """One stream as a client has it; what it answers is collected by call number."""

    def __init__(self, stub: task_pb2_grpc.TaskServiceAsyncStub) -> None:
        self.call = stub.SubmitTasks()
        self.outcomes: dict[int, Outcome] = {}
        self.statuses: dict[int, status_pb2.Status] = {}
        self.order: list[int] = []
        self.sizes: list[int] = []
        """Bytes of each message."""
        self.last_call: int | None = None
        self.reading: asyncio.Task[None] | None = None

    def read(self) -> None:
        """Begin to take answers."""
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(grpc.aio.AioRpcError):  # `end` tells how it ended
            while isinstance(response := await self.call.read(), pb.SubmitTasksResponse):
                self._note(response)

    def _note(self, response: pb.SubmitTasksResponse) -> None:
        self.sizes.append(response.ByteSize())
        for answer in response.answers:
            assert answer.call not in self.outcomes, "answered twice"
            self.order.append(answer.call)
            if answer.WhichOneof("outcome") == "task":
                self.outcomes[answer.call] = answer.task
            else:
                status = self.statuses[answer.call] = status_pb2.Status.FromString(answer.status)
                self.outcomes[answer.call] = from_status(status)
        if response.HasField("last_call"):
            self.last_call = response.last_call

    async def ask(self, *calls: pb.SubmitCall, leave: Sequence[int] = ()) -> None:
        """Send one message."""
        await self.call.write(pb.SubmitTasksRequest(calls=calls, leave=leave))

    async def answered(self, *numbers: int) -> None:
        """Wait until these calls have their answers."""
        await until(lambda: set(numbers) <= self.outcomes.keys())

    async def end(self) -> grpc.StatusCode:
        """Wait for the stream's end."""
        assert self.reading is not None
        async with asyncio.timeout(10):
            await asyncio.gather(self.reading, return_exceptions=True)
            return await self.call.code()


def good(number: int, task_id: str = "", wait_seconds: float = 0, **fields: Any) -> pb.SubmitCall:
    """One call for a task that is good, unless the fields say otherwise."""
    spec = pb.TaskSpec(
        task_id=task_id or f"t{number}",
        **{"task_name": "media.extract", "input": to_struct({"video_path": "a.mp4"}), **fields},
    )
    return pb.SubmitCall(call=number, request=pb.SubmitTaskRequest(spec=spec, wait_seconds=wait_seconds))


async def opened(client: Client) -> Stream:
    """A stream to a scheduler, that is read."""
    stream = Stream(client.stub)
    stream.read()
    return stream


async def test_every_call_has_its_own_outcome(harness: Harness) -> None:
    """Good and bad ones in one message, with and without a wait: each is answered as its SubmitTask would be."""
    await harness.node(slots=3, auto=True)
    client = await harness.scheduler()
    stream = await opened(client)
    calls = []
    for number in range(1, 101):
        bad: dict[int, dict[str, Any]] = {
            0: {"task_name": "media.nothing"},
            1: {"priority": 101},
            2: {"input": to_struct({"x": 1})},
        }
        fields: dict[str, Any] = bad.get(number % 10, {})
        calls.append(good(number, wait_seconds=10 * (number % 2), **fields))
    for start in range(0, 100, 20):
        await stream.ask(*calls[start : start + 20])
    await stream.answered(*range(1, 101))
    codes = {0: "UNKNOWN_TASK_TYPE", 1: "INVALID_ARGUMENT", 2: "INVALID_INPUT"}
    for number, outcome in stream.outcomes.items():
        if (code := codes.get(number % 10)) is not None:
            assert isinstance(outcome, InvalidArgument) and outcome.code == code and outcome.fields
            continue
        assert isinstance(outcome, pb.Task) and outcome.spec.task_id == f"t{number}"
        assert not outcome.HasField("reuse")
        if number % 2:
            assert outcome.state == pb.TASK_STATE_COMPLETED
            assert outcome == await client.get(f"t{number}")
    await stream.call.done_writing()
    assert await stream.end() is grpc.StatusCode.OK


async def test_the_same_task_twice_in_a_message_is_one_task(harness: Harness) -> None:
    """The second is told that it was there; another payload is refused; both waits see the same end."""
    node = await harness.node()
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(good(1, "same", 10), good(2, "same", 10), good(3, "same", 10, priority=1))
    await stream.answered(3)
    here = await node.arrival("same")
    await until(lambda: client.scheduler.feed.watcher_count == 1)
    await here.complete()
    await stream.answered(1, 2)
    first, second, third = (stream.outcomes[number] for number in (1, 2, 3))
    assert isinstance(first, pb.Task) and isinstance(second, pb.Task)
    assert {first.reuse.hit, second.reuse.hit} == {True, False}
    assert first.state == second.state == pb.TASK_STATE_COMPLETED
    assert isinstance(third, YiVideoError) and third.code == "TASK_CONFLICT"


async def test_a_wait_that_is_left_is_not_answered(harness: Harness) -> None:
    """Its task is stored and goes on; other calls on the stream notice nothing; leaving again, or leaving nothing, is nothing."""
    node = await harness.node(slots=2)
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(good(1, wait_seconds=30), good(2, wait_seconds=30), leave=[1, 7])
    one, two = await node.arrival("t1"), await node.arrival("t2")
    await until(lambda: list(client.scheduler.endings._expected) == ["t2"])
    await stream.ask(leave=[1, 1])
    await one.complete()
    await two.complete()
    await stream.answered(2)
    assert (await client.ended("t1")).state == pb.TASK_STATE_COMPLETED
    assert 1 not in stream.outcomes


async def test_the_stream_ends_when_its_last_wait_is_left(harness: Harness) -> None:
    """A client that has closed its side and waits for nothing more is held by nothing."""
    node = await harness.node()
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(good(1, wait_seconds=30))
    await node.arrival("t1")
    await stream.ask(leave=[1])
    await stream.call.done_writing()
    assert await stream.end() is grpc.StatusCode.OK
    assert not stream.outcomes


async def test_a_stream_that_is_lost_leaves_its_tasks_stored(
    harness: Harness, clean_redis: redis.Redis
) -> None:
    """What has arrived is stored, also what was being stored at that moment; nobody waits any more."""
    await harness.node()
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(*(good(number, wait_seconds=30 * (number % 2)) for number in range(1, 31)))
    await until(lambda: client.scheduler.endings._expected)
    stream.call.cancel()
    await until(lambda: not client.scheduler.endings._expected)
    await until(lambda: stored(clean_redis) == 30)


def stored(client: redis.Redis) -> int:
    """How many tasks Redis has."""
    return int(client.zcard(PREFIX + "tasks"))


async def test_a_draining_replica_says_what_it_has_taken(harness: Harness) -> None:
    """Waits are answered with the task as it is; what comes after `last_call` is never taken; then the stream ends well."""
    node = await harness.node()
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(good(1, wait_seconds=30), good(2))
    await node.arrival("t1")
    await stream.answered(2)
    client.scheduler.draining.set()
    await until(lambda: stream.last_call is not None)
    assert stream.last_call == 2
    await stream.ask(good(3))
    await stream.answered(1)
    await stream.call.done_writing()
    assert await stream.end() is grpc.StatusCode.OK
    outcome = stream.outcomes[1]
    assert isinstance(outcome, pb.Task) and outcome.state == pb.TASK_STATE_RUNNING
    assert set(stream.outcomes) == {1, 2}
    late = await opened(client)
    await until(lambda: late.last_call is not None)
    assert late.last_call == 0
    await late.call.done_writing()
    assert await late.end() is grpc.StatusCode.OK


async def test_a_client_that_does_not_close_holds_no_replica_up(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draining replica ends the stream by itself, a moment after the last answer."""
    monkeypatch.setattr(submitting, "_CLOSE_SECONDS", 0.05)
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(good(1, task_name="media.nothing"))
    await stream.answered(1)
    client.scheduler.draining.set()
    assert await stream.end() is grpc.StatusCode.OK
    assert stream.last_call == 1


@pytest.mark.parametrize("numbers", [(1, 1), (2, 1), (0,), (-1,)])
async def test_call_numbers_grow(harness: Harness, clean_redis: redis.Redis, numbers: Sequence[int]) -> None:
    """A number that does not is refused with the whole stream; what came before it is stored."""
    await harness.node()
    client = await harness.scheduler()
    stream = await opened(client)
    await stream.ask(*(good(number, f"t{place}") for place, number in enumerate(numbers)))
    assert await stream.end() is grpc.StatusCode.INVALID_ARGUMENT
    if len(numbers) > 1:
        await until(lambda: stored(clean_redis) == 1)


async def test_a_call_is_seen_as_a_submit_task(harness: Harness) -> None:
    """Its request id comes back with an error, and the figures count it under SubmitTask."""
    await harness.node()
    client = await harness.scheduler()
    stream = await opened(client)

    def handled(code: str) -> float:
        return float(metrics.RPC_HANDLED.labels(submitting._SERVICE, "SubmitTask", code)._value.get())

    before = handled("OK"), handled("INVALID_ARGUMENT")
    named = good(1, task_name="media.nothing")
    named.request_id = "request-7"
    await stream.ask(named, good(2), good(3, task_name="media.nothing"))
    await stream.answered(1, 2, 3)
    assert (handled("OK"), handled("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 2)
    given = [_request_id(stream.statuses[number]) for number in (1, 3)]
    assert given[0] == "request-7" and given[1] not in ("", "request-7")


def _request_id(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.metadata["request_id"])


class FakeTasks(task_pb2_grpc.TaskServiceServicer):
    """SubmitTasks in front of a store that the test holds up."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()
        self.draining = asyncio.Event()
        self.answer_bytes = 0

    async def _submit(self, request: pb.SubmitTaskRequest, stored: Callable[[], None]) -> pb.Task:
        self.begun.append(request.spec.task_id)
        assert ids.traceparent.get()
        await self.gate.wait()
        if request.wait_seconds:
            stored()
            await self.waiting.wait()
        return pb.Task(spec=pb.TaskSpec(task_id=request.spec.task_id), waiting_reason="x" * self.answer_bytes)

    async def SubmitTasks(self, requests: AsyncIterator[pb.SubmitTasksRequest], context: Any) -> Any:
        """Serve a stream."""
        async for response in submitting.answers(
            self._submit, requests, context, self.draining, RUNTIME.max_message_bytes
        ):
            yield response


@asynccontextmanager
async def served(fake: FakeTasks) -> AsyncIterator[Stream]:
    """Serve it; gives a stream to it that nobody reads yet."""
    server = RpcServer(RUNTIME)
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, fake, submitting._SERVICE)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(server.running())
        channel = await stack.enter_async_context(open_channel(address, RUNTIME))
        stream = Stream(task_pb2_grpc.TaskServiceStub(channel))
        yield stream
        stream.call.cancel()


async def test_more_is_read_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many calls are stored at once and no more are taken up; a call that waits for an end takes no place; order is kept."""
    monkeypatch.setattr(submitting, "MOST_AT_ONCE", 8)
    fake = FakeTasks()
    async with served(fake) as stream:
        stream.read()
        await stream.ask(*(good(number, wait_seconds=1) for number in range(1, 31)))
        await until(lambda: len(fake.begun) == 8)
        await asyncio.sleep(0)
        assert len(fake.begun) == 8
        fake.gate.set()
        await until(lambda: len(fake.begun) == 30)
        assert fake.begun == [f"t{number}" for number in range(1, 31)]
        await stream.ask(good(31))
        await stream.answered(31)
        assert stream.order == [31]
        fake.waiting.set()
        await stream.answered(*range(1, 31))


async def test_too_many_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound of one stream a call is answered UNAVAILABLE, and those before it go on."""
    monkeypatch.setattr(submitting, "MOST_CALLS", 5)
    fake = FakeTasks()
    fake.gate.set()
    async with served(fake) as stream:
        stream.read()
        await stream.ask(*(good(number, wait_seconds=1) for number in range(1, 6)))
        await until(lambda: len(fake.begun) == 5)
        await stream.ask(good(6))
        await stream.answered(6)
        refused = stream.outcomes[6]
        assert isinstance(refused, YiVideoError) and refused.code == "UNAVAILABLE"
        fake.waiting.set()
        await stream.answered(*range(1, 6))


async def test_messages_are_bounded() -> None:
    """Large answers do not share a message; one that no message could carry is an error of its call alone."""
    fake = FakeTasks()
    fake.gate.set()
    async with served(fake) as stream:
        stream.read()
        fake.answer_bytes = 100_000
        await stream.ask(*(good(number) for number in range(1, 21)))
        await stream.answered(*range(1, 21))
        assert max(stream.sizes) <= 256 * 1024 + 1000
        fake.answer_bytes = 300_000
        await stream.ask(good(21))
        await stream.answered(21)
        fake.answer_bytes = RUNTIME.max_message_bytes
        await stream.ask(good(22))
        await stream.answered(22)
        huge = stream.outcomes[22]
        assert isinstance(huge, YiVideoError) and huge.code == "RESOURCE_EXHAUSTED"
        fake.answer_bytes = 0
        await stream.ask(good(23))
        await stream.answered(23)


async def test_a_call_that_is_being_stored_outlives_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost stream, or a client that left, cancels no store; a wait is broken off as soon as its task is stored."""
    fake = FakeTasks()
    done: list[str] = []
    inner = fake._submit

    async def submit(request: pb.SubmitTaskRequest, stored: Callable[[], None]) -> pb.Task:
        def noted() -> None:
            done.append(request.spec.task_id)
            stored()

        return await inner(request, noted)

    monkeypatch.setattr(fake, "_submit", submit)
    async with served(fake) as stream:
        await stream.ask(good(1, wait_seconds=1), good(2, wait_seconds=1), leave=[1])
        await until(lambda: len(fake.begun) == 2)
        stream.call.cancel()
    fake.gate.set()
    await until(lambda: done == ["t1", "t2"])


async def test_a_node_takes_no_submissions(harness: Harness) -> None:
    """A node runs attempts and stores no tasks: UNIMPLEMENTED."""
    node = await harness.node()
    async with open_channel(harness.addresses[node.node][0], RUNTIME) as channel, rpc_errors():
        stream = Stream(task_pb2_grpc.TaskServiceStub(channel))
        stream.read()
        assert await stream.end() is grpc.StatusCode.UNIMPLEMENTED
