"""Submissions over streams, as the gateway sends them: against real servers that the test holds up, breaks and drains."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
import structlog

from gateway.clients import submitter as submitter_module
from gateway.clients.backend import _connected
from gateway.clients.submitter import Submitter
from runtime import context as ids
from runtime.channel import open_channel
from runtime.errors import DeadlineExceeded, Draining, InvalidInput, Unauthenticated, Unavailable
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from scheduler.api import submitting
from tests.gateway.conftest import RUNTIME
from tests.gateway.submits import submitted
from yivideo.task.v1 import task_pb2 as pb
from yivideo.task.v1.task_pb2_grpc import (
    TaskServiceServicer,
    TaskServiceStub,
    add_TaskServiceServicer_to_server,
)

SERVICE = "yivideo.task.v1.TaskService"


class Replica(TaskServiceServicer):
    """A scheduler replica whose store the test holds up; a task that waits ends when `ends` is set."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.left: list[str] = []
        """Calls that were broken off."""
        self.request_ids: list[str] = []
        self.alone: list[str] = []
        """What came by a SubmitTask of its own."""
        self.streams = 0
        self.open_streams = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.ends = asyncio.Event()
        self.draining = asyncio.Event()

    async def SubmitTask(self, request: pb.SubmitTaskRequest, context: Any) -> pb.Task:
        """Store one task."""
        self.alone.append(request.spec.task_id)
        return await self._submit(request, context)

    async def _submit(self, request: pb.SubmitTaskRequest, context: Any) -> pb.Task:
        task_id = request.spec.task_id
        self.arrived.append(task_id)
        self.request_ids.append(ids.request_id.get())
        try:
            await self.gate.wait()
            if request.spec.task_name == "bad":
                raise InvalidInput(f"{task_id} is bad")
            if request.wait_seconds:
                await self.ends.wait()
                return pb.Task(spec=request.spec, state=pb.TASK_STATE_COMPLETED)
        except asyncio.CancelledError:
            self.left.append(task_id)
            raise
        return pb.Task(spec=request.spec, state=pb.TASK_STATE_PENDING)

    async def SubmitTasks(
        self, requests: AsyncIterator[pb.SubmitTasksRequest], context: Any
    ) -> AsyncIterator[pb.SubmitTasksResponse]:
        """Store many."""
        self.streams += 1
        self.open_streams += 1
        try:
            async for response in submitted(self._submit, requests, context, self.draining):
                yield response
        finally:
            self.open_streams -= 1


class OldReplica(Replica):
    """A replica from before there were streams."""

    SubmitTasks = TaskServiceServicer.SubmitTasks  # type: ignore[assignment] # unimplemented, as it was then


@dataclass
class Room:
    """Replicas, and a submitter that reaches them."""

    stack: AsyncExitStack
    submitter: Submitter
    channel: grpc.aio.Channel
    replicas: list[Replica]
    servers: list[RpcServer] = field(default_factory=list)

    async def submit(self, task_id: str, wait_seconds: float = 0, **fields: Any) -> pb.Task | None:
        """Submit a task."""
        request = pb.SubmitTaskRequest(spec=pb.TaskSpec(task_id=task_id, **fields), wait_seconds=wait_seconds)
        if wait_seconds:
            return await self.submitter.submit_and_wait(request)
        return await self.submitter.submit(request)


Start = Callable[..., Any]


async def serve(
    stack: AsyncExitStack, replica: Replica, listen: str = "127.0.0.1:0", **runtime: Any
) -> tuple[RpcServer, str]:
    """Run a replica until the test ends."""
    server = RpcServer(RuntimeSection(**{**RUNTIME.model_dump(), "listen": listen, **runtime}))
    server.add(add_TaskServiceServicer_to_server, replica, SERVICE)
    return server, await stack.enter_async_context(server.running())


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return what starts replicas and a submitter in front of them."""
    async with AsyncExitStack() as stack:

        async def begin(*replicas: Replica, timeout_seconds: float = 10, **options: Any) -> Room:
            served = [await serve(stack, replica) for replica in replicas]
            target = "ipv4:" + ",".join(address for _, address in served)
            channel = await stack.enter_async_context(open_channel(target, RUNTIME))
            await channel.channel_ready()
            submitter = Submitter(
                TaskServiceStub(channel), partial(_connected, channel), timeout_seconds, **options
            )
            stack.push_async_callback(submitter.aclose)
            return Room(stack, submitter, channel, list(replicas), [server for server, _ in served])

        yield begin


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds; fails the test when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_each_caller_gets_its_own_answer(start: Start) -> None:
    """Hundreds at once, good and bad, with and without a wait: over the two streams, each with its request's id."""
    replica = Replica()
    room: Room = await start(replica)

    async def one(number: int) -> None:
        ids.request_id.set(f"request-{number}")
        name = "bad" if number % 5 == 0 else "good"
        if name == "bad":
            with pytest.raises(InvalidInput, match=f"^t{number} is bad"):
                await room.submit(f"t{number}", number % 2, task_name=name)
            return
        task = await room.submit(f"t{number}", number % 2, task_name=name)
        assert task is not None and task.spec.task_id == f"t{number}"
        assert (task.state == pb.TASK_STATE_COMPLETED) is bool(number % 2)

    asking = [asyncio.create_task(one(number)) for number in range(400)]
    await until(lambda: len(replica.arrived) == 400)
    replica.ends.set()
    await asyncio.gather(*asking)
    assert replica.streams == submitter_module.STREAMS and not replica.alone
    assert {f"{name}" for name in replica.request_ids} == {f"request-{number}" for number in range(400)}


async def test_a_client_that_leaves_ends_its_wait_only(start: Start) -> None:
    """A wait is broken off at the scheduler; a submission that waits for nothing goes on; the others on the stream too."""
    replica = Replica()
    room: Room = await start(replica, streams=1)
    replica.gate.clear()
    leaves, changes = asyncio.create_task(room.submit("w1", 30)), asyncio.create_task(room.submit("c1"))
    stays = asyncio.create_task(room.submit("w2", 30))
    await until(lambda: len(replica.arrived) == 3)
    leaves.cancel()
    changes.cancel()
    await until(lambda: replica.left == ["w1"])
    replica.gate.set()
    replica.ends.set()
    task = await stays
    assert task is not None and task.spec.task_id == "w2"
    assert replica.left == ["w1"]
    await until(lambda: not room.submitter._streams[0].in_flight)


async def test_a_client_that_leaves_before_its_call_has_left(start: Start) -> None:
    """Its task is stored all the same, and nobody waits for its end."""
    replica = Replica()
    room: Room = await start(replica, streams=1)
    leaving = asyncio.create_task(room.submit("w1", 30))
    await asyncio.sleep(0)
    leaving.cancel()
    await until(lambda: replica.arrived == ["w1"])
    await until(lambda: not room.submitter._streams[0].in_flight)
    assert not replica.left


async def test_a_failure_that_nobody_sees_is_logged(start: Start) -> None:
    """A submission whose client has gone and which then fails leaves a line."""
    replica = Replica()
    room: Room = await start(replica)
    replica.gate.clear()
    asking = asyncio.create_task(room.submit("t1", task_name="bad"))
    await until(lambda: replica.arrived)
    with structlog.testing.capture_logs() as lines:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        replica.gate.set()
        await until(lambda: any("after its client had gone" in line["event"] for line in lines))


async def test_a_broken_stream_fails_what_was_sent_and_the_next_call_opens_another(start: Start) -> None:
    """Nobody knows what became of it, so nothing is sent twice; when the scheduler is back, submissions go on."""
    replica, stack = Replica(), AsyncExitStack()
    replica.gate.clear()
    server, address = await serve(stack, replica, drain_seconds=0)
    async with open_channel(address, RUNTIME) as channel:
        submitter = Submitter(TaskServiceStub(channel), partial(_connected, channel), 10)
        room = Room(AsyncExitStack(), submitter, channel, [replica])
        asking = [asyncio.create_task(room.submit(f"t{number}", number % 2)) for number in range(6)]
        await until(lambda: len(replica.arrived) == 6)
        await server._server.stop(0)  # no drain: as if it were killed
        for one in asking:
            with pytest.raises(Unavailable):
                await one
        assert len(replica.arrived) == 6
        again = Replica()
        async with AsyncExitStack() as second:
            await serve(second, again, address)
            task = await room.submit("t7")
            assert task is not None and again.arrived == ["t7"]
            await submitter.aclose()
    await stack.aclose()


async def test_without_a_scheduler_a_call_fails_soon(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits a moment for a connection, not for its deadline."""
    monkeypatch.setattr("gateway.clients.backend._CONNECT_SECONDS", 0.05)
    async with open_channel("127.0.0.1:1", RUNTIME) as channel:
        submitter = Submitter(TaskServiceStub(channel), partial(_connected, channel), 60)
        with pytest.raises(Unavailable):
            await submitter.submit(pb.SubmitTaskRequest(spec=pb.TaskSpec(task_id="t1")))
        await submitter.aclose()


async def test_a_draining_replica_passes_calls_on(start: Start) -> None:
    """What it has taken it answers, what it has not goes to the other replica: no call fails, none is sent twice."""
    first, second = Replica(), Replica()
    room: Room = await start(first, second)
    stop = asyncio.Event()
    answered: list[str] = []

    async def ask(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            task = await room.submit(f"w{worker}-{number}")
            assert task is not None
            answered.append(task.spec.task_id)

    asking = [asyncio.create_task(ask(worker)) for worker in range(16)]
    await until(lambda: len(answered) > 100)
    first.draining.set()
    await until(lambda: first.open_streams == 0)
    taken = len(first.arrived)
    seen = len(answered)
    await until(lambda: len(answered) > seen + 100)
    stop.set()
    await asyncio.gather(*asking)
    assert len(first.arrived) == taken
    everything = first.arrived + second.arrived
    assert sorted(everything) == sorted(answered) and len(set(everything)) == len(everything)


async def test_waits_move_when_a_replica_drains_before_it_has_taken_them(start: Start) -> None:
    """The other replica is asked, with the wait; when every replica drains, the call says so instead of going round for ever."""
    first, second = Replica(), Replica()
    room: Room = await start(first, second, streams=2)
    first.draining.set()
    second.ends.set()
    for number in range(8):
        task = await room.submit(f"t{number}", 30)
        assert task is not None and task.state == pb.TASK_STATE_COMPLETED
    assert not first.arrived
    second.draining.set()
    with pytest.raises(Draining):
        await room.submit("last")


async def test_streams_go_to_different_replicas_and_are_renewed(start: Start) -> None:
    """With two replicas both get calls; after a while other streams are opened, and the old ones end with their last call."""
    first, second = Replica(), Replica()
    room: Room = await start(first, second, renew_seconds=0.05)
    await until_both_connected(room)
    await asyncio.gather(*(room.submit(f"t{number}") for number in range(40)))
    first_wait = asyncio.create_task(room.submit("wait", 30))
    await until(lambda: "wait" in first.arrived + second.arrived)
    begun = first.streams + second.streams

    async def renewed() -> None:
        while first.streams + second.streams < begun + 4:
            await asyncio.gather(*(room.submit(f"u{number}") for number in range(4)))
            await asyncio.sleep(0.01)

    await asyncio.wait_for(renewed(), 10)
    assert first.arrived and second.arrived
    first.ends.set()
    second.ends.set()
    task = await first_wait
    assert task is not None and task.spec.task_id == "wait"
    await until(lambda: first.open_streams + second.open_streams <= submitter_module.STREAMS)
    assert not first.left + second.left


async def until_both_connected(room: Room) -> None:
    """Wait until calls reach both replicas: the channel is ready with the first."""

    async def ask() -> None:
        number = 0
        while not all(replica.arrived for replica in room.replicas):
            number += 1
            await room.submit(f"probe-{number}")
            await asyncio.sleep(0.005)

    await asyncio.wait_for(ask(), 10)


@pytest.mark.parametrize("wait_seconds", [0, 1])
async def test_a_scheduler_without_streams_is_asked_call_by_call(start: Start, wait_seconds: float) -> None:
    """UNIMPLEMENTED: what was sent on the stream goes by SubmitTask, and so does the rest; a client's leaving ends its call."""
    replica = OldReplica()
    room: Room = await start(replica)
    replica.ends.set()
    asked = [room.submit(f"t{number}", wait_seconds) for number in range(20)]
    assert all(task is not None for task in await asyncio.gather(*asked))
    assert sorted(replica.alone) == sorted(f"t{number}" for number in range(20))
    replica.ends.clear()
    leaving = asyncio.create_task(room.submit("w", 30))
    await until(lambda: "w" in replica.alone)
    leaving.cancel()
    await until(lambda: replica.left == ["w"])
    with pytest.raises(InvalidInput):
        await room.submit("bad", task_name="bad")


async def test_a_deadline_is_its_calls_own(start: Start) -> None:
    """A scheduler that stands still holds nobody longer than that; others are answered; the next call goes over another stream."""
    replica = Replica()
    room: Room = await start(replica, streams=1, timeout_seconds=0.2)
    replica.gate.clear()
    waiting = asyncio.create_task(room.submit("w", 30))
    with pytest.raises(DeadlineExceeded):
        await room.submit("t1")
    assert not waiting.done()
    replica.gate.set()
    replica.ends.set()
    task = await room.submit("t2", 30)
    assert task is not None and replica.streams == 2
    assert await waiting is not None
    await until(lambda: replica.open_streams == 1)


async def test_a_large_request_goes_alone(start: Start) -> None:
    """It holds nobody up, and one that no message can carry is an error of its own call."""
    replica = Replica()
    room: Room = await start(replica)
    large = await room.submit("large", workflow_id="w" * 300_000)
    assert large is not None and replica.alone == ["large"]
    middle = [room.submit(f"t{number}", workflow_id="w" * 200_000) for number in range(20)]
    await asyncio.gather(*middle)
    assert replica.alone == ["large"]
    with pytest.raises(Exception, match="larger than max"):
        await room.submit("huge", workflow_id="w" * RUNTIME.max_message_bytes)
    assert await room.submit("after") is not None


async def test_a_scheduler_that_does_not_read_is_not_buffered_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past a bound of submissions that have not left, further ones are refused with UNAVAILABLE."""
    monkeypatch.setattr(submitter_module, "_MOST_UNSENT", 10)
    monkeypatch.setattr(submitting, "MOST_AT_ONCE", 4)
    replica = Replica()
    replica.gate.clear()
    room: Room = await start(replica, streams=1)
    asking: list[asyncio.Task[Any]] = []
    while not any(task.done() for task in asking):
        asking.append(asyncio.create_task(room.submit(f"t{len(asking)}", workflow_id="w" * 20_000)))
        await asyncio.sleep(0)
        assert len(asking) < 5000
    refused = [task for task in asking if task.done()]
    for task in refused:
        with pytest.raises(Unavailable):
            task.result()
    replica.gate.set()
    others = await asyncio.gather(*(task for task in asking if task not in refused))
    assert len(others) >= 10


async def test_a_gateway_that_drains_waits_for_nothing(start: Start) -> None:
    """Who waits for an end is told None at once and may still submit; the scheduler is told as well."""
    replica = Replica()
    room: Room = await start(replica)
    waiting = asyncio.create_task(room.submit("w1", 30))
    await until(lambda: replica.arrived == ["w1"])
    room.submitter.drain()
    assert await waiting is None
    await until(lambda: replica.left == ["w1"])
    assert await room.submit("w2", 30) is None
    assert await room.submit("t1") is not None


async def test_who_may_not_call_is_told_so(start: Start) -> None:
    """A wrong token is no broken connection."""
    async with AsyncExitStack() as stack:
        _, address = await serve(stack, Replica(), token="right")
        async with open_channel(address, RUNTIME) as channel:
            submitter = Submitter(TaskServiceStub(channel), partial(_connected, channel), 10)
            with pytest.raises(Unauthenticated):
                await submitter.submit(pb.SubmitTaskRequest(spec=pb.TaskSpec(task_id="t1")))
            await submitter.aclose()
