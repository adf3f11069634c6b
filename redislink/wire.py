"""A connection's socket: what is sent in one turn leaves together, answers are matched in order, errors have classes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis's own class is the one meant everywhere below
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

Argument = str | bytes | int | float
Take = Callable[[Any], Any]
"""Turns an answer into what its caller gets."""

_ERRORS: dict[str, type[RedisError]] = {
    "NOSCRIPT": NoScriptError,
    "LOADING": BusyLoadingError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "MASTERDOWN": TryAgainError,
    "NOREPLICAS": TryAgainError,
    "BUSY": TryAgainError,
    "OOM": TryAgainError,
    "MISCONF": TryAgainError,
}
"""What Redis answers before it has done anything, and not for ever: it is behind, full, or cannot write its snapshot."""


pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)


def to_error(answer: hiredis.ReplyError) -> RedisError:
    """Return an error answer as redis's class for it."""
    text = str(answer)
    return _ERRORS.get(text.split(" ", 1)[0], ResponseError)(text)


class Wire(asyncio.Protocol):
    """The socket of one connection, and the answers that are still to come."""

    def __init__(self, timeout_seconds: float | None) -> None:
        self.transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._awaited: deque[tuple[asyncio.Future[Any], float, Take | None]] = deque()
        self._timeout_seconds = timeout_seconds
        self._watchdog: asyncio.TimerHandle | None = None
        self._unsent: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's

    def data_received(self, data: bytes) -> None:
        """Give each answer to the oldest command that waits for one."""
        self._reader.feed(data)
        try:
            self._give_answers()
        except hiredis.ProtocolError:  # another service's port, as a URL with a slip names it
            self.fail(ConnectionError("what listens there is no redis"))

    def _give_answers(self) -> None:
        while (answer := self._reader.gets()) is not False:
            future, _, take = self._awaited.popleft()
            if take is not None and not isinstance(answer, hiredis.ReplyError):
                try:
                    answer = take(answer)
                except Exception as error:
                    self._spoiled(future, error)
                    continue
            if not future.done():
                future.set_result(answer)

    def _spoiled(self, future: asyncio.Future[Any], error: Exception) -> None:
        if future.done():  # who would have heard of it is gone
            self._loop.call_exception_handler({"message": "an answer was not understood", "exception": error})
        else:
            future.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what waits."""
        self.fail(ConnectionError("the connection to redis was closed"))

    def fail(self, error: RedisError) -> None:
        """End the connection and everything that waits on it: a late answer would be taken for that of a later command."""
        transport, self.transport = self.transport, None
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        while self._awaited:
            future, _, _ = self._awaited.popleft()
            if not future.done():
                future.set_exception(error)
        if transport is not None:
            transport.abort()

    def _watch(self) -> None:
        """Look whether the oldest command has waited for too long; one timer serves all."""
        self._watchdog = None
        if self._awaited and self._timeout_seconds is not None:
            left = self._awaited[0][1] + self._timeout_seconds - self._loop.time()
            if left <= 0:
                self.fail(TimeoutError("redis did not answer in time"))
            else:
                self._watchdog = self._loop.call_later(left, self._watch)

    def send(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        """Send a command; gives where its answer comes, an error answer as it is. Raises ConnectionError."""
        return self.send_packed(pack(command))

    def send_packed(self, command: bytes, take: Take | None = None) -> asyncio.Future[Any]:
        """The same for a packed command; `take`: what its answer goes through as soon as it is read."""
        if self.transport is None:
            raise ConnectionError("the connection to redis was closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._awaited.append((future, self._loop.time(), take))
        if self._watchdog is None and self._timeout_seconds is not None:
            self._watchdog = self._loop.call_later(self._timeout_seconds, self._watch)
        # A command whose answer is taken at once is in a hurry: it leaves now, unless others are before it.
        if take is not None and not self._unsent:
            self.transport.write(command)
            return future
        # What is sent in one turn of the event loop leaves in one system call: uvloop writes at once, each time it is asked.
        self._unsent.append(command)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self.transport is not None:
            self.transport.write(b"".join(unsent))
