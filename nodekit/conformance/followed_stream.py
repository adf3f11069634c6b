"""One FollowAttempts stream as a scheduler has it, and what came over it, watch by watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2

from yivideo.task.v1 import task_pb2, task_pb2_grpc

TERMINAL = frozenset({"completed", "failed", "cancelled", "handed_back"})


class Silent(Exception):
    """The node did not do in time what it should; the text says what."""


class Watch:
    """One attempt on the stream: its events in order, and the end of the watch."""

    def __init__(self, number: int, request: task_pb2.RunTaskRequest, changed: asyncio.Condition) -> None:
        self.number = number
        self.request = request
        self.events: list[task_pb2.TaskEvent] = []
        self.end: str | None = None
        """Name of the status code; None: not over."""
        self.faults: list[str] = []
        """What came and should not have."""
        self.stream_status: str | None = None
        """How the whole call ended; None: it has not."""
        self._changed = changed

    @property
    def kinds(self) -> list[str]:
        """The kinds of its stored events."""
        return [event.WhichOneof("event") or "unknown" for event in self.stored]

    @property
    def stored(self) -> list[task_pb2.TaskEvent]:
        """Its events but heartbeats and gaps."""
        return [event for event in self.events if event.WhichOneof("event") not in ("heartbeat", "gap")]

    @property
    def last(self) -> task_pb2.TaskEvent:
        """Its newest stored event; an empty one before the first."""
        return self.stored[-1] if self.stored else task_pb2.TaskEvent()

    async def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until something holds. Raises Silent."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: bool(condition()))
        except TimeoutError:
            told = f"{self.kinds} and {'no end' if self.end is None else f'the end {self.end}'}"
            if self.stream_status is not None:
                told += f"; the stream ended with {self.stream_status}"
            raise Silent(f"within {seconds:g} s it did not {what}; what came: {told}") from None

    async def over(self, seconds: float) -> str:
        """Wait for the end; gives the name of its status code. Raises Silent."""
        await self.until(lambda: self.end is not None, seconds, "end the watch")
        assert self.end is not None
        return self.end

    async def begun(self, seconds: float = 10.0) -> None:
        """Wait for the first event. Raises Silent when none comes."""
        await self.until(lambda: self.stored or self.end is not None, seconds, "send a first event")
        if not self.stored:
            raise Silent(f"it ended the watch with {self.end} in place of beginning")


class FollowedStream:
    """The stream; `async with` keeps it open."""

    def __init__(self, stub: task_pb2_grpc.TaskServiceAsyncStub) -> None:
        self._call = stub.FollowAttempts()
        self._changed = asyncio.Condition()
        self._watches: dict[int, Watch] = {}
        self._reading: asyncio.Task[None] | None = None
        self.heartbeats = 0
        """Empty messages that came."""
        self.status: str | None = None
        """How the call ended; None: it has not."""
        self.faults: list[str] = []

    async def __aenter__(self) -> FollowedStream:
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def follow(self, *requests: task_pb2.RunTaskRequest, number: int = 0) -> list[Watch]:
        """Ask for attempts in one message; `number` is the first one's, else the next that is free."""
        message = task_pb2.FollowAttemptsRequest()
        watches = []
        for request in requests:
            watch = Watch(number or len(self._watches) + 1, request, self._changed)
            number = 0
            self._watches[watch.number] = watch
            message.follow.add(watch=watch.number, request=request)
            watches.append(watch)
        await self._write(message)
        return watches

    async def leave(self, watch: Watch) -> None:
        """Let go of a watch."""
        await self._write(task_pb2.FollowAttemptsRequest(leave=[watch.number]))

    async def _write(self, message: task_pb2.FollowAttemptsRequest) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # reading says why
            await self._call.write(message)

    async def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until something holds of the stream. Raises Silent."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: bool(condition()))
        except TimeoutError:
            raise Silent(f"within {seconds:g} s it did not {what}") from None

    async def _read(self) -> None:
        status = "OK"
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                async with self._changed:
                    self._take(message)
                    self._changed.notify_all()
        except grpc.aio.AioRpcError as error:
            status = error.code().name
        async with self._changed:
            self.status = status
            for watch in self._watches.values():
                watch.stream_status = status
            self._changed.notify_all()

    def _take(self, message: object) -> None:
        if not isinstance(
            message, task_pb2.FollowAttemptsResponse
        ):  # gRPC gives None for what cannot be parsed
            self.faults.append("a message cannot be parsed: too deep, text that is not UTF-8, or damaged")
            return
        self.heartbeats += not message.events and not message.ends
        for told in message.events:
            watch = self._watches.get(told.watch)
            if watch is None:
                self.faults.append(f"an event under the number {told.watch}, which was not asked for")
            elif watch.end is not None:
                watch.faults.append("an event after the watch's end")
            else:
                watch.events.append(told.event)
        for ended in message.ends:
            watch = self._watches.get(ended.watch)
            if watch is None:
                self.faults.append(f"an end under the number {ended.watch}, which was not asked for")
            elif watch.end is not None:
                watch.faults.append("a second end")
            else:
                watch.end = _code(ended.status, watch)


def _code(raw: bytes, watch: Watch) -> str:
    try:
        number = status_pb2.Status.FromString(raw).code
    except DecodeError:
        watch.faults.append("a status that is not a serialised google.rpc.Status")
        return "unreadable"
    return code_pb2.Code.Name(number) if number in code_pb2.Code.values() else f"code {number}"
