"""One stream to a scheduler replica that carries many submissions (SubmitTasks), in place of a SubmitTask call for each.

One message is on its way at a time; what is asked meanwhile leaves together in the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Protocol

import grpc
from google.rpc import status_pb2

from runtime.errors import Draining, Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.refusal import CallEnd
from runtime.rpc_errors import from_status, translate
from yivideo.task.v1 import task_pb2, task_pb2_grpc

log = get_logger(__name__)

MESSAGE_BYTES = 256 * 1024
"""A message is closed when it has so many."""


class Carrier(Protocol):
    """What a submission travels by."""

    def let_go(self, call: SubmitCall) -> None:
        """Its client has left: break off its wait; a submission that waits for no end goes on."""

    def give_up(self, call: SubmitCall) -> None:
        """Its time is over: nobody takes its answer any longer."""


class SubmitCall:
    """One submission, from its asking until its answer."""

    __slots__ = ("answer", "carrier", "deadline", "moves", "number", "request", "request_id", "size", "timer")

    def __init__(self, request: task_pb2.SubmitTaskRequest, request_id: str, deadline: float) -> None:
        self.request = request
        self.request_id = request_id
        self.size = request.ByteSize()
        self.deadline = deadline
        """On the event loop's clock."""
        self.answer: asyncio.Future[task_pb2.Task | None] = asyncio.get_running_loop().create_future()
        """The task; None when the gateway drains and nobody can wait for it."""
        self.timer: asyncio.TimerHandle | None = None
        self.carrier: Carrier | None = None
        self.number = 0
        """On the stream that carries it."""
        self.moves = 0
        """How often a replica that goes away has passed it on."""

    @property
    def waits(self) -> bool:
        """Whether it is answered when the task has ended."""
        return bool(self.request.wait_seconds)

    def succeed(self, task: task_pb2.Task | None) -> None:
        """Give the answer."""
        self.end()
        if not self.answer.done():
            self.answer.set_result(task)

    def fail(self, error: YiVideoError) -> None:
        """Say why there is none."""
        self.end()
        if not self.answer.done():
            self.answer.set_exception(error)
        elif self.answer.cancelled() and not self.waits:
            log.warning("a change failed after its client had gone", reason=error.message)

    def end(self) -> None:
        """Stop the clock."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Owner(Protocol):
    """Who decides what becomes of calls that a stream cannot finish."""

    def move(self, call: SubmitCall) -> None:
        """A call was not taken: ask elsewhere."""

    def stream_ended(
        self, stream: SubmitStream, sent: list[SubmitCall], unsent: list[SubmitCall], error: YiVideoError
    ) -> None:
        """A stream is over, and has no answer for these calls."""


class SubmitStream:
    """One stream. It opens at once, or when there is a connection."""

    def __init__(
        self,
        stub: task_pb2_grpc.TaskServiceAsyncStub,
        connected: Callable[[], Awaitable[None]],
        owner: Owner,
    ) -> None:
        self._stub = stub
        self._connected = connected
        self._owner = owner
        self._newest = 0
        self._sent = 0
        """The newest number that has left."""
        self._calls: dict[int, SubmitCall] = {}
        self._unsent: deque[SubmitCall] = deque()
        self._left: list[int] = []
        """Numbers of calls to let go of."""
        self._wanted = asyncio.Event()
        self.is_retired = False
        """Whether it takes no more calls."""
        self.has_worked = False
        """Whether a message has left: there was a connection."""
        # It serves many requests and belongs to none of them.
        self._running = asyncio.get_running_loop().create_task(self._run(), context=Context())

    @property
    def in_flight(self) -> int:
        """Calls without an answer."""
        return len(self._calls)

    @property
    def unsent(self) -> int:
        """Calls that leave with the next messages."""
        return len(self._unsent)

    def ask(self, call: SubmitCall) -> None:
        """Send a call."""
        self._newest += 1
        call.number = self._newest
        call.carrier = self
        self._calls[self._newest] = call
        self._unsent.append(call)
        self._wanted.set()

    def let_go(self, call: SubmitCall) -> None:
        """Break off a call's wait: the task is stored all the same."""
        if not call.waits or call.number not in self._calls:
            return
        if call.number > self._sent:
            call.request.wait_seconds = 0
        else:
            self._left.append(call.number)
            self._forget(call)

    def give_up(self, call: SubmitCall) -> None:
        """A call's time is over. Who has not answered it may be frozen: others had better go elsewhere."""
        self.let_go(call)
        self._forget(call)
        self.retire()

    def _forget(self, call: SubmitCall) -> None:
        call.end()
        self._calls.pop(call.number, None)
        self._wanted.set()

    def retire(self) -> None:
        """Take no more calls; the stream ends when it has no more to answer."""
        self.is_retired = True
        self._wanted.set()

    async def aclose(self) -> None:
        """End the stream."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Keep the stream until it ends."""
        error: YiVideoError = Unavailable("the stream to the scheduler has ended")
        sending = None
        try:
            await self._connected()
            rpc: Any = self._stub.SubmitTasks()
            end = CallEnd(rpc)
            sending = asyncio.create_task(self._send(rpc))
            try:
                while isinstance(response := await rpc.read(), task_pb2.SubmitTasksResponse):
                    self._take(response)
            except grpc.aio.AioRpcError as failed:
                error = translate(await end.own(failed))
            finally:
                rpc.cancel()
        finally:
            self.is_retired = True
            if sending is not None:
                sending.cancel()
            self._end(error)

    def _end(self, error: YiVideoError) -> None:
        calls, self._calls = list(self._calls.values()), {}
        sent = [call for call in calls if call.number <= self._sent]
        self._owner.stream_ended(self, sent, calls[len(sent) :], error)

    async def _send(self, rpc: Any) -> None:
        """Send what is asked, and close this side when nothing more can come."""
        try:
            while self._calls or self._left or not self.is_retired:
                await self._wanted.wait()
                self._wanted.clear()
                while self._unsent or self._left:
                    await rpc.write(self._next_message())
                    self.has_worked = True
            await rpc.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            return  # reading says why

    def _next_message(self) -> task_pb2.SubmitTasksRequest:
        message = task_pb2.SubmitTasksRequest(leave=self._left)
        self._left.clear()
        size = 0
        while self._unsent:
            call = self._unsent[0]
            if size + call.size > MESSAGE_BYTES and size:
                break
            self._unsent.popleft()
            self._sent = call.number
            if call.number in self._calls:  # else its time was over before it could leave
                size += call.size
                message.calls.add(call=call.number, request_id=call.request_id).request.CopyFrom(call.request)
        return message

    def _take(self, response: task_pb2.SubmitTasksResponse) -> None:
        for answer in response.answers:
            call = self._calls.pop(answer.call, None)
            if call is None:
                continue
            if not answer.status:
                call.succeed(answer.task)
                continue
            error = from_status(status_pb2.Status.FromString(answer.status))
            if isinstance(error, Draining):
                self._owner.move(call)
            else:
                call.fail(error)
        if response.HasField("last_call"):
            self._pass_on(response.last_call)
        if self.is_retired and not self._calls:
            self._wanted.set()

    def _pass_on(self, last_call: int) -> None:
        """The replica goes away: have others asked for what it has not taken."""
        self.retire()
        self._unsent.clear()
        for number in [number for number in self._calls if number > last_call]:
            self._owner.move(self._calls.pop(number))
