"""A proxy before a good node that makes one thing wrong: how the judge of nodes is shown each fault by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import code_pb2, status_pb2

from runtime.channel import open_channel
from runtime.errors import InvalidArgument
from runtime.rpc_errors import translate
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SERVICE = "yivideo.task.v1.TaskService"
RUNTIME = RuntimeSection(metrics_listen="", drain_seconds=0)


def same(message: Any) -> Any:
    return message


@dataclass
class Twist:
    """What a proxy does to messages on their way; each may change its message in place, and None drops it."""

    law: str
    """The law that is broken by it."""
    reason: str
    """A part of what the judge must say."""
    condition: Callable[[task_pb2.NodeStatus], task_pb2.NodeStatus | None] = same
    types: Callable[[task_pb2.ListTaskTypesResponse], task_pb2.ListTaskTypesResponse] = same
    cancel: Callable[[task_pb2.CancelTaskRequest], task_pb2.CancelTaskRequest] = same
    asked: Callable[[task_pb2.FollowAttemptsRequest], task_pb2.FollowAttemptsRequest] = same
    told: Callable[[task_pb2.FollowAttemptsResponse], task_pb2.FollowAttemptsResponse | None] = same
    serving: bool = True
    stays: bool = False
    """Go on watching when the client's stream has broken."""
    kills: bool = False
    """Stop every attempt when the client's stream has broken."""
    ends_stream: bool = False
    """End the whole stream with what one watch ended with."""
    token: str | None = None
    """What the judge believes to be the node's token."""


class Twisted(task_pb2_grpc.TaskServiceServicer):
    """The proxy."""

    def __init__(self, stub: task_pb2_grpc.TaskServiceAsyncStub, twist: Twist) -> None:
        self._stub = stub
        self._twist = twist
        self.left: list[asyncio.Task[None]] = []
        """Who still listens for a client that is gone."""

    async def ListTaskTypes(self, request: Any, context: Any) -> task_pb2.ListTaskTypesResponse:
        return self._twist.types(await self._stub.ListTaskTypes(request))

    async def CancelTask(self, request: Any, context: Any) -> task_pb2.Task:
        try:
            return await self._stub.CancelTask(self._twist.cancel(request))
        except grpc.aio.AioRpcError as error:
            raise translate(error) from None

    async def WatchNode(self, request: Any, context: Any) -> AsyncIterator[task_pb2.NodeStatus]:
        call = self._stub.WatchNode(request)
        try:
            async for status in call:
                if (told := self._twist.condition(status)) is not None:
                    yield told
        finally:
            call.cancel()

    async def FollowAttempts(
        self, requests: AsyncIterator[task_pb2.FollowAttemptsRequest], context: Any
    ) -> AsyncIterator[task_pb2.FollowAttemptsResponse]:
        call = self._stub.FollowAttempts()
        names: set[str] = set()

        async def ask() -> None:
            async for request in requests:
                names.update(asked.request.spec.task_id for asked in request.follow)
                await call.write(self._twist.asked(request))

        told: asyncio.Queue[Any] = asyncio.Queue()

        async def listen() -> None:
            try:
                async for response in call:
                    told.put_nowait(response)
                told.put_nowait(None)
            except grpc.aio.AioRpcError as error:
                told.put_nowait(translate(error))

        asking, listening = asyncio.create_task(ask()), asyncio.create_task(listen())
        try:
            while (heard := await told.get()) is not None:
                if isinstance(heard, Exception):
                    raise heard
                response = self._twist.told(heard)
                if self._twist.ends_stream and any(end.status for end in heard.ends):
                    raise InvalidArgument("all is over")
                if response is not None:
                    yield response
        finally:
            asking.cancel()
            if self._twist.kills:
                for name in names:
                    self._stub.CancelTask(task_pb2.CancelTaskRequest(task_id=name, grace_seconds=0))
            if self._twist.stays:
                self.left.append(listening)
            else:
                listening.cancel()


@asynccontextmanager
async def twisted_node(address: str, twist: Twist) -> AsyncIterator[str]:
    """Serve the proxy before the node at an address; gives the proxy's address."""
    async with open_channel(address, RUNTIME) as channel:
        server = RpcServer(RUNTIME)
        proxy = Twisted(task_pb2_grpc.TaskServiceStub(channel), twist)
        server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, proxy, SERVICE)
        async with server.running() as served:
            await server.set_serving(SERVICE, twist.serving)
            yield served
        for listening in proxy.left:
            listening.cancel()


def each_event(change: Callable[[task_pb2.TaskEvent], None]) -> Callable[[Any], Any]:
    """A `told` that changes every event."""

    def told(response: task_pb2.FollowAttemptsResponse) -> task_pb2.FollowAttemptsResponse:
        for followed in response.events:
            change(followed.event)
        return response

    return told


def each_request(change: Callable[[task_pb2.RunTaskRequest], None]) -> Callable[[Any], Any]:
    """An `asked` that changes every request."""

    def asked(message: task_pb2.FollowAttemptsRequest) -> task_pb2.FollowAttemptsRequest:
        for followed in message.follow:
            change(followed.request)
        return message

    return asked


def other_status(before: str, after: str) -> Callable[[Any], Any]:
    """A `told` that gives watches another status code."""

    def told(response: task_pb2.FollowAttemptsResponse) -> task_pb2.FollowAttemptsResponse:
        for end in response.ends:
            status = status_pb2.Status.FromString(end.status)
            if code_pb2.Code.Name(status.code) == before:
                end.status = status_pb2.Status(code=code_pb2.Code.Value(after)).SerializeToString()
        return response

    return told


@dataclass
class Once:
    """Lets a thing through so many times."""

    times: int = 1
    seen: list[Any] = field(default_factory=list)

    def __call__(self, message: Any) -> Any:
        self.seen.append(message)
        return message if len(self.seen) <= self.times else None
