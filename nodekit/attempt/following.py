"""All that one scheduler follows on this replica, over one stream (FollowAttempts).

A watch keeps no events, only its place in its attempt's log: what is new is collected when the stream takes the next message. So
what happened while the last message was on its way leaves in one, and a scheduler that does not read costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from functools import partial

from nodekit.attempt.attempts import AttemptTable
from nodekit.attempt.watch import Watch
from runtime.errors import InvalidArgument, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import from_exception, to_status
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_MESSAGE_BYTES = 256 * 1024
"""A message is closed when it has so many; one event may be larger than that by itself."""


class _Followed:
    """One watch and its place."""

    def __init__(self, watch: Watch, position: int) -> None:
        self.watch = watch
        self.position = position


class Following:
    """One stream's watches."""

    def __init__(self, attempts: AttemptTable, heartbeat_seconds: float) -> None:
        self._attempts = attempts
        self._heartbeat_seconds = heartbeat_seconds
        self._followed: dict[int, _Followed] = {}
        self._newest = 0
        self._news: dict[int, None] = {}
        """Watches with something to tell, in the order in which it came."""
        self._refused: list[task_pb2.FollowedEnd] = []
        self._wanted = asyncio.Event()
        self._beat_due = False
        self._failure: Exception | None = None
        self._over = False

    async def obey(self, requests: AsyncIterable[task_pb2.FollowAttemptsRequest]) -> None:
        """Take requests until the client has no more."""
        try:
            async for request in requests:
                for asked in request.follow:
                    self._follow(asked)
                for number in request.leave:
                    self._forget(number)
        except Exception as error:
            self._failure = error
        finally:
            self.close()

    def _follow(self, asked: task_pb2.FollowedAttempt) -> None:
        if asked.watch <= self._newest:
            raise InvalidArgument.at("/follow/watch", "watch numbers grow, from 1")
        self._newest = asked.watch
        try:
            watch = self._attempts.attach_or_start(asked.request).attach()
        except Exception as error:
            self._refuse(asked.watch, error)
            return
        self._followed[asked.watch] = _Followed(watch, asked.request.after_sequence)
        watch.listen(partial(self._note, asked.watch))
        self._note(asked.watch)

    def _refuse(self, number: int, error: Exception) -> None:
        known = from_exception(error)
        if not isinstance(error, YiVideoError):
            log.error("an attempt cannot be followed", exc_info=error)
        status = to_status(known).SerializeToString()
        self._refused.append(task_pb2.FollowedEnd(watch=number, status=status))
        self._wanted.set()

    def _note(self, number: int) -> None:
        self._news[number] = None
        self._wanted.set()

    def _forget(self, number: int) -> None:
        self._news.pop(number, None)
        followed = self._followed.pop(number, None)
        if followed is not None:
            followed.watch.release()

    def close(self) -> None:
        """Tell what is there to tell and end; calling it again does nothing."""
        self._over = True
        self._wanted.set()

    def release(self) -> None:
        """The client is gone: nothing is watched here any more."""
        self.close()
        for number in list(self._followed):
            self._forget(number)

    async def responses(self) -> AsyncIterator[task_pb2.FollowAttemptsResponse]:
        """Yield what happens, until closed; a heartbeat, an empty message, every `heartbeat_seconds`, however much happens."""
        beat = self._beat_later()
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._news or self._refused or self._beat_due:
                    if self._beat_due:
                        beat = self._beat_later()
                        yield task_pb2.FollowAttemptsResponse()
                    response, read = self._collect()
                    if response.events or response.ends:
                        yield response
                    for watch in read:
                        watch.note_read()
                if self._failure is not None:
                    raise self._failure
                if self._over:
                    return
        finally:
            beat.cancel()

    def _beat_later(self) -> asyncio.TimerHandle:
        self._beat_due = False
        return asyncio.get_running_loop().call_later(self._heartbeat_seconds, self._beat)

    def _beat(self) -> None:
        self._beat_due = True
        self._wanted.set()

    def _collect(self) -> tuple[task_pb2.FollowAttemptsResponse, list[Watch]]:
        """Return a message with what is new, and the watches whose attempt's end is in it."""
        response = task_pb2.FollowAttemptsResponse(ends=self._refused)
        self._refused = []
        read: list[Watch] = []
        size = 0
        while self._news and size < _MESSAGE_BYTES:
            number = next(iter(self._news))
            del self._news[number]
            followed = self._followed[number]
            try:
                events = followed.watch.told_after(followed.position)
            except YiVideoError as error:
                self._forget(number)
                self._refuse(number, error)
                continue
            for event in events:
                response.events.add(watch=number, event=event)
                followed.position = event.sequence or followed.position
                size += event.ByteSize()
            if followed.watch.is_delivered(followed.position):
                self._forget(number)
                read.append(followed.watch)
                response.ends.add(watch=number)
        return response, read
