"""A node for the scheduler's tests: a real gRPC TaskService whose attempts are moved by the test's hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc

from runtime.errors import Draining, NoFreeSlot, StaleFence, TaskNotFound, WrongState, YiVideoError
from runtime.rpc_errors import to_status
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2
from yivideo.task.v1.task_pb2_grpc import TaskServiceServicer, add_TaskServiceServicer_to_server

SCHEMA = {
    "type": "object",
    "properties": {
        "video_path": {"type": "string"},
        "rate": {"type": "integer", "minimum": 1},
        "api_key": {"type": "string"},
        "sources": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["video_path"],
    "additionalProperties": False,
}


class Here:
    """One attempt on the node."""

    def __init__(self, request: task_pb2.RunTaskRequest, *, quiet: bool) -> None:
        self.request = request
        self.quiet = quiet
        self.events: list[task_pb2.TaskEvent | bytes] = []
        self.changed = asyncio.Condition()
        self.cancel: task_pb2.CancelTaskRequest | None = None
        self.watchers = 0
        self.attached = 0
        self.raw_ended = False

    @property
    def ended(self) -> bool:
        last = self.events[-1] if self.events else None
        if isinstance(last, bytes):
            return self.raw_ended
        return last is not None and last.WhichOneof("event") in (
            "completed", "failed", "cancelled", "handed_back",
        )  # fmt: skip

    async def say(self, **event: Any) -> None:
        """Append an event: `await here.say(log=TaskLog(...))`."""
        await self.append(task_pb2.TaskEvent(**event))

    async def append(self, told: task_pb2.TaskEvent) -> None:
        """Append an event with its place in the attempt's history."""
        async with self.changed:
            told.task_id = self.request.spec.task_id
            told.attempt = self.request.attempt
            told.sequence = len(self.events) + 1
            self.events.append(told)
            self.changed.notify_all()

    async def say_raw(self, event: bytes, *, end: bool = False) -> None:
        """Append what is sent in place of a serialised TaskEvent; `end`: nothing follows it."""
        async with self.changed:
            self.events.append(event)
            self.raw_ended = end
            self.changed.notify_all()

    async def progress(self, percent: float) -> None:
        await self.say(progress=task_pb2.Progress(percent=percent, stage="work"))

    async def complete(self, output: dict[str, Any] | None = None, **fields: Any) -> None:
        result = to_struct({"audio_path": "x/a.wav"} if output is None else output)
        await self.say(completed=task_pb2.TaskCompleted(output=result, duration_seconds=0.5, **fields))

    async def fail(self, code: str = "BROKEN", *, retryable: bool = False) -> None:
        error = task_pb2.TaskError(code=code, message="it broke", retryable=retryable)
        await self.say(failed=task_pb2.TaskFailed(error=error, duration_seconds=0.25))

    async def wait_cancel(self) -> task_pb2.CancelTaskRequest:
        async with self.changed:
            await self.changed.wait_for(lambda: self.cancel is not None)
            assert self.cancel is not None
            return self.cancel


class FakeNode(TaskServiceServicer):
    """One replica. With `auto`, attempts complete by themselves at once."""

    def __init__(
        self, node: str = "media", *, slots: int = 1, auto: bool = False, replica: str = "r1"
    ) -> None:
        self.node = node
        self.slots = slots
        self.auto = auto
        self.replica = replica
        self.draining = False
        self.full = False
        self.quiet = False
        """Send no heartbeats, as a frozen process would not."""
        self.refusal: YiVideoError | None = None
        self.refused = 0
        self.reasons = True
        """Tell reasons beside status codes, which no node must."""
        self.heartbeat_seconds = 0.1
        self.attempts: dict[str, Here] = {}
        self.streams: list[asyncio.Queue[task_pb2.FollowAttemptsResponse | bytes]] = []
        self.started: list[tuple[str, int]] = []
        self.most_at_once = 0
        self.changed = asyncio.Condition()
        self.types = {
            "extract": task_pb2.TaskType(
                name=f"{node}.extract", node=node, input_schema=json.dumps(SCHEMA), timeout_seconds=60,
                reuse_field="audio_path",
            ),
            "split": task_pb2.TaskType(name=f"{node}.split", node=node, input_schema=json.dumps(SCHEMA)),
        }  # fmt: skip

    @property
    def running(self) -> list[Here]:
        return [here for here in self.attempts.values() if not here.ended]

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def arrival(self, task_id: str, attempt: int = 1, seconds: float = 5.0) -> Here:
        """Wait until an attempt has begun here."""
        async with asyncio.timeout(seconds), self.changed:
            await self.changed.wait_for(lambda: (task_id, attempt) in self.started)
        return self.attempts[task_id]

    async def RunTask(  # type: ignore[override]
        self, request: task_pb2.RunTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent | bytes]:
        here = self.attempts.get(request.spec.task_id)
        if here is None or here.request.fence != request.fence:
            here = await self._begin(request, here)
        else:
            here.attached += 1
        here.watchers += 1
        await self.notify()
        try:
            async for event in self._events(here, request.after_sequence):
                yield event
        finally:
            here.watchers -= 1
            await self.notify()

    async def FollowAttempts(  # type: ignore[override]
        self, requests: AsyncIterator[task_pb2.FollowAttemptsRequest], context: Any
    ) -> AsyncIterator[task_pb2.FollowAttemptsResponse | bytes]:
        """As a node does, each attempt by its own RunTask."""
        answers: asyncio.Queue[task_pb2.FollowAttemptsResponse | bytes] = asyncio.Queue()
        self.streams.append(answers)
        running: dict[int, asyncio.Task[None]] = {}

        async def follow(watch: int, request: task_pb2.RunTaskRequest) -> None:
            end = task_pb2.FollowedEnd(watch=watch)
            try:
                async with aclosing(self.RunTask(request, context)) as events:  # type: ignore[type-var]
                    async for event in events:
                        if isinstance(event, bytes):
                            await answers.put(wire(1, wire(1, watch) + wire(2, event)))
                            continue
                        if event.HasField("heartbeat"):
                            await answers.put(task_pb2.FollowAttemptsResponse())
                            continue
                        told = task_pb2.FollowedEvent(watch=watch, event=event)
                        await answers.put(task_pb2.FollowAttemptsResponse(events=[told]))
            except YiVideoError as error:
                status = to_status(error)
                if not self.reasons:
                    del status.details[:]
                end.status = status.SerializeToString()
            await answers.put(task_pb2.FollowAttemptsResponse(ends=[end]))

        async def obey() -> None:
            async for request in requests:
                for watch in request.leave:
                    running[watch].cancel()
                for asked in request.follow:
                    running[asked.watch] = asyncio.create_task(follow(asked.watch, asked.request))

        obeying = asyncio.create_task(obey())
        try:
            while True:
                yield await answers.get()
        finally:
            for task in (obeying, *running.values()):
                task.cancel()
            await asyncio.gather(obeying, *running.values(), return_exceptions=True)

    async def inject(self, message: bytes) -> None:
        """Send a message as it is over the newest stream of attempts."""
        await self.streams[-1].put(message)

    async def _begin(self, request: task_pb2.RunTaskRequest, old: Here | None) -> Here:
        if old is not None and request.fence < old.request.fence:
            raise StaleFence("a newer attempt is here")
        if request.attach_only:
            raise TaskNotFound("not here")
        if self.draining:
            raise Draining("shutting down")
        if self.refusal is not None:
            self.refused += 1
            await self.notify()
            raise self.refusal
        if self.full or len(self.running) >= self.slots:
            raise NoFreeSlot("no slot")
        copy = task_pb2.RunTaskRequest()
        copy.CopyFrom(request)
        here = Here(copy, quiet=self.quiet)
        self.attempts[request.spec.task_id] = here
        self.started.append((request.spec.task_id, request.attempt))
        self.most_at_once = max(self.most_at_once, len(self.running))
        await here.say(started=task_pb2.TaskStarted(node=self.node, replica=self.replica))
        if self.auto:
            await here.complete()
        return here

    async def _events(self, here: Here, after: int) -> AsyncIterator[task_pb2.TaskEvent | bytes]:
        while True:
            while after < len(here.events):
                yield here.events[after]
                after += 1
            if here.ended:
                return
            async with here.changed:
                try:
                    async with asyncio.timeout(self.heartbeat_seconds):
                        await here.changed.wait_for(lambda: len(here.events) > after)  # noqa: B023
                    continue
                except TimeoutError:
                    pass
            if not here.quiet:
                yield task_pb2.TaskEvent(task_id=here.request.spec.task_id, heartbeat=task_pb2.Heartbeat())

    async def CancelTask(self, request: task_pb2.CancelTaskRequest, context: Any) -> task_pb2.Task:
        here = self.attempts.get(request.task_id)
        if here is None:
            raise TaskNotFound("not here")
        if here.cancel is not None or here.ended:
            raise WrongState("it is stopping already")
        async with here.changed:
            here.cancel = task_pb2.CancelTaskRequest()
            here.cancel.CopyFrom(request)
            here.changed.notify_all()
        return task_pb2.Task(state=task_pb2.TASK_STATE_CANCELLING)

    async def ListTaskTypes(self, request: Any, context: Any) -> task_pb2.ListTaskTypesResponse:
        return task_pb2.ListTaskTypesResponse(task_types=self.types.values())

    async def WatchNode(self, request: Any, context: Any) -> AsyncIterator[task_pb2.NodeStatus]:
        while True:
            yield task_pb2.NodeStatus(
                node=self.node,
                replica=self.replica,
                slots=self.slots,
                free_slots=0 if self.draining else self.slots - len(self.running),
                draining=self.draining,
                attempts=[
                    task_pb2.RunningAttempt(
                        task_id=name, attempt=here.request.attempt, fence=here.request.fence, ended=here.ended
                    )
                    for name, here in self.attempts.items()
                ],
                task_types_etag="1",
            )
            async with self.changed:
                try:
                    async with asyncio.timeout(self.heartbeat_seconds):
                        await self.changed.wait()
                except TimeoutError:
                    pass


def wire(number: int, value: int | bytes) -> bytes:
    """Return one field as protobuf writes it: a varint, or bytes, text or a message with its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


class _Raw:
    """A server that sends bytes as they are: what a node in another language may send, and protobuf for Python cannot make."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Leave them out: what follows replaces them."""

    def add_registered_method_handlers(self, service: str, methods: dict[str, Any]) -> None:
        followed = methods["FollowAttempts"]

        def serialize(message: Any) -> bytes:
            raw: bytes = message if isinstance(message, bytes) else followed.response_serializer(message)
            return raw

        raw = {**methods, "FollowAttempts": followed._replace(response_serializer=serialize)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, raw),))
        self._server.add_registered_method_handlers(service, raw)


def _add(servicer: Any, server: Any) -> None:
    add_TaskServiceServicer_to_server(servicer, _Raw(server))  # type: ignore[arg-type]


@asynccontextmanager
async def serving_node(node: FakeNode, listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve a node for the time of the block; gives its address."""
    server = RpcServer(
        RuntimeSection(listen=listen, metrics_listen="", drain_seconds=0, max_message_bytes=64 * 1024 * 1024)
    )
    server.add(_add, node, "yivideo.task.v1.TaskService")
    async with server.running() as address:
        yield address
