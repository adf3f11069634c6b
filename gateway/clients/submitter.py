"""Submits tasks over a few streams to the scheduler (SubmitTasks), by single calls where a stream does not do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.clients.submit_stream import MESSAGE_BYTES, SubmitCall, SubmitStream
from runtime import context as ids
from runtime.errors import (
    DeadlineExceeded,
    Draining,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    YiVideoError,
)
from runtime.rpc_errors import from_exception
from yivideo.task.v1 import task_pb2, task_pb2_grpc

STREAMS = 2
"""A stream stays with one scheduler replica; opened together, they go to different ones."""
RENEW_SECONDS = 60.0
"""Then other streams are opened, so that a new replica gets its share; and a scheduler without streams is asked again."""
_ANSWER_SECONDS = 10.0
"""Beyond the wait itself: what storing the task may take."""
_MOST_UNSENT = 4096
"""Submissions that wait for a scheduler to read; further ones are refused."""
_MOST_MOVES = 4


class _Alone:
    """Carries a submission by a SubmitTask call of its own."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def let_go(self, call: SubmitCall) -> None:
        if call.waits:
            self._task.cancel()

    def give_up(self, call: SubmitCall) -> None:
        self._task.cancel()


class Submitter:
    """The gateway's submissions to the scheduler.

    A stream that breaks fails what was sent over it with Unavailable: whether it was stored is not known. What a replica that
    drains has not taken goes to another one.
    """

    def __init__(
        self,
        stub: task_pb2_grpc.TaskServiceAsyncStub,
        connected: Callable[[], Awaitable[None]],
        timeout_seconds: float,
        *,
        streams: int = STREAMS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._stub = stub
        self._connected = connected
        self._timeout_seconds = timeout_seconds
        self._renew_seconds = renew_seconds
        self._most_streams = streams
        self._streams: list[SubmitStream] = []
        """Those that take calls."""
        self._open: set[SubmitStream] = set()
        """Those and the retired ones that still have calls to answer."""
        self._turn = 0
        self._renew_time = 0.0
        self._alone_until = 0.0
        self._alone: set[asyncio.Task[None]] = set()
        self._waiting: set[SubmitCall] = set()
        self._is_draining = False

    async def submit(self, request: task_pb2.SubmitTaskRequest) -> task_pb2.Task:
        """Store a task; it runs to its end although the caller is cancelled. Raises what SubmitTask answers."""
        task = await self._answer(self._begin(request, self._timeout_seconds))
        assert task is not None
        return task

    async def submit_and_wait(self, request: task_pb2.SubmitTaskRequest) -> task_pb2.Task | None:
        """Store a task and wait for its end, `wait_seconds` at most. A caller that is cancelled ends the wait only.

        None when this gateway drains: whether the task was stored is not known.
        """
        if self._is_draining:
            return None
        call = self._begin(request, request.wait_seconds + _ANSWER_SECONDS)
        self._waiting.add(call)
        try:
            return await self._answer(call)
        finally:
            self._waiting.discard(call)

    def drain(self) -> None:
        """Wait for no end any longer."""
        self._is_draining = True
        for call in list(self._waiting):
            if call.carrier is not None:
                call.carrier.let_go(call)
            call.succeed(None)

    async def aclose(self) -> None:
        """End all streams and calls."""
        for task in self._alone:
            task.cancel()
        await asyncio.gather(
            *self._alone, *(stream.aclose() for stream in self._open), return_exceptions=True
        )

    def _begin(self, request: task_pb2.SubmitTaskRequest, seconds: float) -> SubmitCall:
        loop = asyncio.get_running_loop()
        call = SubmitCall(request, ids.request_id.get(), loop.time() + seconds)
        call.timer = loop.call_at(call.deadline, self._expire, call)
        self._place(call)
        return call

    async def _answer(self, call: SubmitCall) -> task_pb2.Task | None:
        try:
            return await call.answer
        except asyncio.CancelledError:
            if not call.answer.cancelled():
                call.answer.exception()  # it came at the same moment, and nobody will look at it
            elif call.carrier is not None:
                call.carrier.let_go(call)
            raise

    def _expire(self, call: SubmitCall) -> None:
        if call.carrier is not None:
            call.carrier.give_up(call)
        call.fail(DeadlineExceeded("the scheduler did not answer within the deadline of the call"))

    def _place(self, call: SubmitCall) -> None:
        now = asyncio.get_running_loop().time()
        if call.size > MESSAGE_BYTES or now < self._alone_until:
            self._send_alone(call)
            return
        stream = self._choose(now)
        if stream.unsent >= _MOST_UNSENT:
            call.fail(Unavailable("too many submissions wait for the scheduler", retry_after_seconds=1))
        else:
            stream.ask(call)

    def _choose(self, now: float) -> SubmitStream:
        """Return the stream whose next message is about to leave, else the one with the fewest calls, in turn."""
        if now >= self._renew_time:
            self._renew_time = now + self._renew_seconds
            for stream in self._streams:
                stream.retire()
            self._streams.clear()
        if len(self._streams) < self._most_streams or any(stream.is_retired for stream in self._streams):
            self._fill()
        for stream in self._streams:
            if stream.unsent:
                return stream
        self._turn = (self._turn + 1) % len(self._streams)
        best = self._streams[self._turn]
        for stream in self._streams:
            if stream.in_flight < best.in_flight:
                best = stream
        return best

    def _fill(self) -> None:
        self._streams = [stream for stream in self._streams if not stream.is_retired]
        while len(self._streams) < self._most_streams:
            stream = SubmitStream(self._stub, self._connected, self)
            self._streams.append(stream)
            self._open.add(stream)

    def _send_alone(self, call: SubmitCall) -> None:
        task = asyncio.create_task(self._ask_alone(call))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)
        call.carrier = _Alone(task)

    async def _ask_alone(self, call: SubmitCall) -> None:
        spec = call.request.spec
        with ids.bound(request=call.request_id, trace=spec.traceparent, state=spec.tracestate):
            try:
                await self._connected()
                left = call.deadline - asyncio.get_running_loop().time()
                call.succeed(await self._stub.SubmitTask(call.request, timeout=max(left, 0.001)))
            except asyncio.CancelledError:
                if not call.answer.done():
                    call.fail(Unavailable("the call to the scheduler was broken off"))
                raise
            except Exception as error:
                call.fail(from_exception(error))

    def move(self, call: SubmitCall) -> None:
        """A replica that drains has not taken a call: ask another."""
        call.moves += 1
        if call.moves > _MOST_MOVES:
            call.fail(Draining("every scheduler that could be reached is shutting down"))
        else:
            self._place(call)

    def stream_ended(
        self, stream: SubmitStream, sent: list[SubmitCall], unsent: list[SubmitCall], error: YiVideoError
    ) -> None:
        """A stream is over, and has no answer for these calls."""
        self._open.discard(stream)
        if isinstance(error, Unimplemented):
            self._alone_until = asyncio.get_running_loop().time() + self._renew_seconds
            for call in (*sent, *unsent):
                self._send_alone(call)
            return
        for call in sent:
            call.fail(_for_a_call(error))
        for call in unsent:
            if stream.has_worked and call.moves < _MOST_MOVES:
                self.move(call)
            else:
                call.fail(_for_a_call(error))


def _for_a_call(error: YiVideoError) -> YiVideoError:
    """Return what a call on a broken stream is told: what broke it is no word about a call, but that none is allowed."""
    kind = type(error) if isinstance(error, Unauthenticated | PermissionDenied) else Unavailable
    made = kind(error.message)
    made.is_from_peer = error.is_from_peer
    return made
