"""Follows attempts on one node replica: one stream for all of them (FollowAttempts), in place of a RunTask call for each.

When the stream breaks, all that is followed on it breaks, and the runners attach again, over the next stream. What a node says
that cannot be read ends the watch that it is about, and no other (`scheduler.run.node_messages`). A message that gRPC itself does
not take, because it is larger than all bounds, breaks the stream and tells nobody whose it was: each attempt that was on the stream
then gets one of its own, and the one whose own stream breaks in that way is known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import grpc

from runtime.errors import NodeMessageInvalid, OutputTooLarge, Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import translate
from scheduler.run.node_messages import MAX_RECEIVED_BYTES, NodeMessage, read_message
from yivideo.task.v1 import task_pb2, task_pb2_grpc

log = get_logger(__name__)

_BUFFER_EVENTS = 256
"""Events kept for a runner that is busy storing earlier ones."""
_MESSAGE_BYTES = 256 * 1024
"""A message is closed when it has so many; one attempt's request may be larger than that by itself."""
_METHOD = "/yivideo.task.v1.TaskService/FollowAttempts"
_OVERSIZED = "Received message larger than max"
"""What gRPC says of a message past the channel's bound; its status code alone could be the node's own."""
_BEAT = task_pb2.TaskEvent(heartbeat=task_pb2.Heartbeat())


@dataclass(frozen=True)
class StreamEnd:
    """Nothing follows."""

    error: YiVideoError | None
    """None after the terminal event."""
    by_node: bool = False
    """Whether the node said so of this watch; else the stream broke, which says nothing of the attempt."""
    begun: bool = False
    """Whether an event had come: then the attempt is, or was, there."""


class Followed:
    """One attempt that is followed: its events in order, then one StreamEnd. Heartbeats are only noted, by `on_message`.

    Events for a runner that is busy storing earlier ones are kept up to a bound. Past it the watch is let go of, so that the others
    on the stream need not wait, and taken up again after the last event that was kept, when the runner has caught up.
    """

    def __init__(
        self, stream: NodeStream, request: task_pb2.RunTaskRequest, on_message: Callable[[], None]
    ) -> None:
        self._stream = stream
        self._request = task_pb2.RunTaskRequest()
        self._request.CopyFrom(request)
        self._on_message = on_message
        self._items: deque[task_pb2.TaskEvent | StreamEnd] = deque()
        self._changed: asyncio.Future[None] | None = None
        self._over = False
        self._is_behind = False
        self._begun = False
        self.watch = stream.ask(self, self._request)

    def put(self, event: task_pb2.TaskEvent) -> None:
        """An event has come."""
        if self._over or self._is_behind:
            return
        self._on_message()
        if event.HasField("heartbeat"):
            return
        self._begun = True
        if len(self._items) >= _BUFFER_EVENTS:
            self._is_behind = True
            self._stream.let_go(self.watch)
            return
        self._request.after_sequence = max(self._request.after_sequence, event.sequence)
        self._put(event)

    def end(self, error: YiVideoError | None, *, by_node: bool = False) -> None:
        """Nothing will follow."""
        if not self._over:
            self._over = True
            self._put(StreamEnd(error, by_node, self._begun))

    def _put(self, item: task_pb2.TaskEvent | StreamEnd) -> None:
        self._items.append(item)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def cancel(self) -> None:
        """Let go of the attempt; the node's work goes on."""
        if not self._over:
            self._stream.let_go(self.watch)
            self.end(Unavailable("the stream was let go of"))

    @property
    def attempt(self) -> tuple[str, int]:
        """Its task and fence."""
        return self._request.spec.task_id, self._request.fence

    @property
    def empty(self) -> bool:
        """Whether `get` would wait."""
        return not self._items

    async def get(self) -> task_pb2.TaskEvent | StreamEnd:
        """Return the next item; waits for it."""
        while not self._items:
            if self._is_behind:
                self._is_behind = False
                self._request.attach_only = True
                self.watch = self._stream.ask(self, self._request)
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed
        return self._items.popleft()


class NodeStream:
    """The stream to one address, opened when an attempt is to be followed. `alone`: it is for one attempt, and ends with it."""

    def __init__(self, channel: grpc.aio.Channel, silence_seconds: float, *, alone: bool = False) -> None:
        self._channel = channel
        self._alone = alone
        self._suspects: set[tuple[str, int]] = set()
        """Attempts, by task and fence, that were on the stream when a message was too large."""
        self._apart: set[NodeStream] = set()
        """Streams of attempts that have one of their own."""
        self._stub = task_pb2_grpc.TaskServiceStub(channel)
        # In place of the stub's own, whose reader would end the stream for one event that cannot be read.
        self._open: Any = channel.stream_stream(
            _METHOD, task_pb2.FollowAttemptsRequest.SerializeToString, read_message
        )
        self._silence_seconds = silence_seconds
        self._newest = 0
        self._followed: dict[int, Followed] = {}
        self._asked: dict[int, task_pb2.RunTaskRequest] = {}
        """What is to be asked for, by watch number, in the order of asking."""
        self._left: list[int] = []
        """What is to be let go of."""
        self._wanted = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def follow(self, request: task_pb2.RunTaskRequest, on_message: Callable[[], None]) -> Followed:
        """Start or attach to an attempt; `on_message` is called at every message of the node about it."""
        attempt = (request.spec.task_id, request.fence)
        if attempt not in self._suspects:
            return Followed(self, request, on_message)
        self._suspects.discard(attempt)
        apart = NodeStream(self._channel, self._silence_seconds, alone=True)
        followed = Followed(apart, request, on_message)
        if apart._running is not None:
            self._apart.add(apart)
            apart._running.add_done_callback(lambda _: self._apart.discard(apart))
        return followed

    def ask(self, followed: Followed, request: task_pb2.RunTaskRequest) -> int:
        """Have a request sent; gives the number of the watch that `followed` is told about."""
        self._newest += 1
        self._followed[self._newest] = followed
        self._asked[self._newest] = request
        self._wanted.set()
        if self._running is None or self._running.done():
            # It serves many attempts and belongs to none of them.
            self._running = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return self._newest

    async def stop(self, request: task_pb2.CancelTaskRequest, timeout_seconds: float) -> None:
        """Tell the node to stop an attempt. Raises AioRpcError."""
        await self._stub.CancelTask(request, timeout=timeout_seconds)

    def let_go(self, watch: int) -> None:
        """Tell the node that a watch is over; without effect when it is not there."""
        if self._followed.pop(watch, None) is None:
            return
        if self._asked.pop(watch, None) is None:  # else it was never asked for, and nobody need be told
            self._left.append(watch)
            self._wanted.set()
        if self._alone and not self._followed and self._running is not None:
            self._running.cancel()

    async def aclose(self) -> None:
        """End the stream, and those apart from it."""
        for apart in list(self._apart):
            await apart.aclose()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Keep one stream until it breaks."""
        loop = asyncio.get_running_loop()
        call = self._open()
        sending = asyncio.create_task(self._send(call))
        reason = "the node ended the stream"
        try:
            async with asyncio.timeout(self._silence_seconds) as limit:
                while isinstance(message := await call.read(), NodeMessage):
                    limit.reschedule(loop.time() + self._silence_seconds)
                    if not message.readable:
                        reason = "the node sent a message that cannot be read"
                        log.error("the stream to a node is given up", reason=reason)
                        break
                    self._take(message)
                    if self._alone and not self._followed:
                        break
        except TimeoutError:
            reason = "the node says nothing"
        except grpc.aio.AioRpcError as failed:
            reason = translate(failed).message
            if _OVERSIZED in reason:
                self._note_oversized()
        finally:
            sending.cancel()
            call.cancel()
            self._break(reason)

    def _note_oversized(self) -> None:
        log.error(
            "a node sent a message that is too large for any", bytes=MAX_RECEIVED_BYTES, alone=self._alone
        )
        if self._alone:
            error = OutputTooLarge(f"the node sent a message of more than {MAX_RECEIVED_BYTES} bytes")
            for one in self._followed.values():
                one.end(error, by_node=True)
        else:
            self._suspects = {one.attempt for one in self._followed.values()}

    def _break(self, reason: str) -> None:
        # Whatever broke the stream says nothing about any of its attempts.
        broken, self._followed = self._followed, {}
        self._asked.clear()
        self._left.clear()
        self._newest = 0
        for one in broken.values():
            one.end(Unavailable(reason))

    async def _send(self, call: Any) -> None:
        """Send what is asked; what is asked while a message is on its way leaves in the next."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._asked or self._left:
                try:
                    await call.write(self._next_message())
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
                    return  # reading says why

    def _next_message(self) -> task_pb2.FollowAttemptsRequest:
        message = task_pb2.FollowAttemptsRequest(leave=self._left)
        self._left.clear()
        size = 0
        while self._asked and size < _MESSAGE_BYTES:
            watch = next(iter(self._asked))
            asked = message.follow.add(watch=watch, request=self._asked.pop(watch))
            size += asked.ByteSize()
        return message

    def _take(self, message: NodeMessage) -> None:
        for watch, watched in message.events:
            if (followed := self._followed.get(watch)) is None:
                continue
            if isinstance(watched, NodeMessageInvalid):
                self.let_go(watch)
                followed.end(watched, by_node=True)
            else:
                followed.put(watched)
        for watch, error in message.ends:
            if (followed := self._followed.pop(watch, None)) is not None:
                followed.end(error, by_node=True)
        if not message.events and not message.ends:
            for followed in list(self._followed.values()):
                followed.put(_BEAT)
