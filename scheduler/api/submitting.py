"""All that one client submits over one stream (SubmitTasks): each call is what SubmitTask would be, without its price.

A gRPC call costs a Python server four completions, a message on an open stream two; and what becomes ready while one message is
on its way leaves in the next. Calls are taken in the order of their numbers, so that one number says, when this replica drains,
which of them the client must ask elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from runtime import context as ids
from runtime.call_record import CallRecord, traced
from runtime.errors import InvalidArgument, ResourceExhausted, Unavailable
from runtime.rpc_errors import from_exception, to_status
from yivideo.task.v1 import task_pb2

Submit = Callable[[task_pb2.SubmitTaskRequest, Callable[[], None]], Awaitable[task_pb2.Task]]
"""Does what SubmitTask does; tells when the task is stored, before a wait begins. It may be cancelled from then on."""

MOST_AT_ONCE = 256
"""Calls that are being stored, or whose answers the client has not taken: past it nothing more is read."""
MOST_CALLS = 16_384
"""Calls of one stream, those that wait for their task's end included; further ones are refused."""
_MESSAGE_BYTES = 256 * 1024
"""A message is closed when it has so many; one answer may be larger than that by itself."""
_FRAME_BYTES = 64
"""What a message has beside its one answer."""
_CLOSE_SECONDS = 1.0
"""How long a draining replica waits for its client to close its side, so that no message of it meets a stream that has ended."""

_SERVICE = task_pb2.DESCRIPTOR.services_by_name["TaskService"].full_name


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one call is answered: a task, or the status that it failed with."""

    call: int
    size: int
    task: task_pb2.Task | None = None
    status: bytes = b""


class _Call:
    """One call, from its arrival until its answer is ready."""

    def __init__(self, owner: Submitting) -> None:
        self._owner = owner
        self.task: asyncio.Task[None] | None = None
        self.is_stored = False
        self.is_left = False

    def stored(self) -> None:
        """The task is in the store; what follows is a wait."""
        if not self.is_stored:
            self.is_stored = True
            self._owner.storing -= 1
            self._owner.make_room()
            if self.is_left and self.task is not None:
                self.task.cancel()

    def leave(self) -> None:
        """Nobody waits for the answer: break off the wait, after the task is stored."""
        self.is_left = True
        if self.is_stored and self.task is not None:
            self.task.cancel()


class Submitting:
    """One stream's calls."""

    def __init__(self, submit: Submit, draining: asyncio.Event, max_message_bytes: int) -> None:
        self._submit = submit
        self._draining = draining
        self._max_bytes = max_message_bytes - _FRAME_BYTES
        self._calls: dict[int, _Call] = {}
        self._newest = 0
        self._ready: deque[_Answer] = deque()
        self.storing = 0
        """Calls whose task is not yet stored."""
        self._room: asyncio.Future[None] | None = None
        self._wanted = asyncio.Event()
        self._last_call: int | None = None
        self._is_drain_sent = False
        self._is_closed = False
        self._failure: Exception | None = None

    async def obey(self, requests: AsyncIterable[task_pb2.SubmitTasksRequest]) -> None:
        """Take calls until the client has no more."""
        try:
            async for request in requests:
                for asked in request.calls:
                    while self.storing + len(self._ready) >= MOST_AT_ONCE:
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
                    if self._last_call is not None:
                        break
                    self._take(asked)
                for number in request.leave:
                    if (call := self._calls.get(number)) is not None:
                        call.leave()
        except Exception as error:
            self._failure = error
        finally:
            self._close()

    def make_room(self) -> None:
        """Go on reading, where that waited for room."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _take(self, asked: task_pb2.SubmitCall) -> None:
        if asked.call <= self._newest:
            raise InvalidArgument.at("/calls/call", "call numbers grow, from 1")
        self._newest = asked.call
        call = self._calls[asked.call] = _Call(self)
        self.storing += 1
        call.task = asyncio.get_running_loop().create_task(self._run(asked, call), context=Context())

    async def _run(self, asked: task_pb2.SubmitCall, call: _Call) -> None:
        """Do one call, with the ids, the figures and the errors that a SubmitTask has."""
        record = CallRecord(_SERVICE, "SubmitTask")
        ids.request_id.set(ids.accepted_request_id(asked.request_id))
        spec = asked.request.spec
        ids.traceparent.set(ids.accepted_traceparent(spec.traceparent))
        ids.tracestate.set(ids.accepted_tracestate(spec.tracestate, spec.traceparent))
        traced(record, may_begin=not ids.offered_traceparent(spec.traceparent))
        try:
            if len(self._calls) > MOST_CALLS:
                raise Unavailable("too many calls wait on this stream", retry_after_seconds=1)
            task = await self._submit(asked.request, call.stored)
            size = task.ByteSize()
            if size > self._max_bytes:
                raise ResourceExhausted(f"the task is larger than a message: {size} bytes")
            answer = _Answer(asked.call, size, task)
            record.succeeded()
        except asyncio.CancelledError:
            record.cancelled()
            raise
        except Exception as error:
            known = from_exception(error)
            record.failed(error, known)
            status = to_status(known).SerializeToString()
            answer = _Answer(asked.call, len(status), status=status)
        finally:
            del self._calls[asked.call]
            call.task = None
            call.stored()
            self._wanted.set()  # also by one that was left: the stream may have waited for nothing else
        self._ready.append(answer)

    async def drain(self) -> None:
        """Take nothing more when this replica drains; what was taken is answered."""
        await self._draining.wait()
        self._last_call = self._newest
        self.make_room()
        self._wanted.set()

    def _close(self) -> None:
        self._is_closed = True
        self._wanted.set()

    def release(self) -> None:
        """The client is gone: what is being stored gets stored, and nothing is waited for."""
        self._close()
        for call in list(self._calls.values()):
            call.leave()

    async def responses(self) -> AsyncGenerator[task_pb2.SubmitTasksResponse, None]:
        """Yield answers until every call has its own and no more can come."""
        is_closing = False
        while await self._news(_CLOSE_SECONDS if is_closing else None):
            while self._ready or self._must_tell_drain:
                yield self._collect()
                self.make_room()
            if self._failure is not None:
                raise self._failure
            if self._is_closed and not self._calls:
                return
            is_closing = self._is_drain_sent and not self._calls

    async def _news(self, seconds: float | None) -> bool:
        """Wait for something to do; False when the seconds pass first."""
        if seconds is None:
            await self._wanted.wait()
        else:
            try:
                await asyncio.wait_for(self._wanted.wait(), seconds)
            except TimeoutError:
                return False
        self._wanted.clear()
        return True

    @property
    def _must_tell_drain(self) -> bool:
        return self._last_call is not None and not self._is_drain_sent

    def _collect(self) -> task_pb2.SubmitTasksResponse:
        """Return a message with what is ready."""
        response = task_pb2.SubmitTasksResponse()
        if self._must_tell_drain:
            response.last_call = self._last_call or 0
            self._is_drain_sent = True
        size = 0
        while self._ready:
            ready = self._ready[0]
            size += ready.size
            if size > _MESSAGE_BYTES and response.answers:
                break
            self._ready.popleft()
            if ready.task is None:
                response.answers.add(call=ready.call, status=ready.status)
            else:
                response.answers.add(call=ready.call).task.CopyFrom(ready.task)
        return response


async def answers(
    submit: Submit,
    requests: AsyncIterable[task_pb2.SubmitTasksRequest],
    context: Any,
    draining: asyncio.Event,
    max_message_bytes: int,
) -> AsyncGenerator[task_pb2.SubmitTasksResponse, None]:
    """Serve one SubmitTasks stream; `context` is its servicer context."""
    submitting = Submitting(submit, draining, max_message_bytes)
    # The callback is surer than a `finally`: a generator that is merely dropped is closed when Python gets round to it.
    context.add_done_callback(lambda _: submitting.release())
    beside = [asyncio.create_task(submitting.obey(requests)), asyncio.create_task(submitting.drain())]
    try:
        async with aclosing(submitting.responses()) as responses:
            async for response in responses:
                yield response
    finally:
        submitting.release()
        for task in beside:
            task.cancel()
