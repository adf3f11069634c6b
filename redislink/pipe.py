"""One pipelined connection to Redis: commands go out as they come, answers come back in order.

A pool lends a connection per command and pays two task switches for it. A lock service's hand-off is one script and one push, and
between hand-offs nothing moves; there the wake-ups are the cost. This connection has none to spare: a command is a write to the
socket and a future (measured beside redis-py's pool with 20 ms gaps on the same loop: 0.32 ms against 0.73 ms).
"""

from __future__ import annotations

import asyncio
import builtins
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - redis's own class is the one meant everywhere below
    ReadOnlyError,
    RedisError,
    TimeoutError,  # noqa: A004
)

from redislink.address import Place, RedisAddress, parse_redis_url
from redislink.refusal import Refused, in_its_words, is_for_good
from redislink.wire import Argument, Take, Wire, pack, to_error
from runtime.addresses import join_host_port

__all__ = ["Argument", "CommandHead", "Lookup", "Pipe", "Take"]


class CommandHead:
    """The arguments that a command always begins with, packed once."""

    def __init__(self, *words: Argument) -> None:
        self._count = len(words)
        self._packed = _without_count(words)

    def command(self, *words: Argument) -> bytes:
        """Return the whole command as it goes over the wire."""
        return b"*%d\r\n%b%b" % (self._count + len(words), self._packed, _without_count(words))


def _without_count(words: tuple[Argument, ...]) -> bytes:
    packed = pack(words)
    return packed[packed.index(b"\n") + 1 :]


class Lookup(Protocol):
    """Says where a Redis is (`redislink.primary`)."""

    address: RedisAddress

    @property
    def moves(self) -> bool:
        """Whether it may be another server tomorrow."""

    async def find(self) -> Place:
        """Return where it is. Raises ConnectionError when nobody knows."""

    def call_when_found(self, leave: Callable[[Place], None]) -> None:
        """Have something told each time where it is."""


class _OneServer:
    """A Redis that is always at one place."""

    moves = False

    def __init__(self, url: str) -> None:
        self.address = parse_redis_url(url)
        if self.address.sentinels:
            raise ValueError("sentinels are asked by redislink.primary")

    async def find(self) -> Place:
        return self.address.place

    def call_when_found(self, leave: Callable[[Place], None]) -> None:
        pass


def _secured(address: RedisAddress) -> ssl.SSLContext | None:
    try:
        return address.tls()
    except OSError as error:
        files = "the files of ssl_ca_certs, ssl_certfile and ssl_keyfile"
        raise Refused(f"{files} cannot be used: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return error.strerror or str(error)


class Pipe:
    """One connection, made with the first command and again after it broke."""

    def __init__(
        self, where: str | Lookup, *, name: str, timeout_seconds: float | None = 5.0, server: str = "redis"
    ) -> None:
        """Describe the connection: the URL of one server, or who knows where it is.

        `timeout_seconds` bounds each command and the connect; None: commands may block, as XREAD BLOCK does.
        `server`: what errors call the other end.
        """
        self._lookup: Lookup = _OneServer(where) if isinstance(where, str) else where
        self._place: Place | None = None
        self._opening: asyncio.Timeout | None = None
        self._lookup.call_when_found(self._leave_unless)
        self._name = name
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._ended = False
        self.connections = 0
        """Connections made so far; what the last one was still to answer was lost with it."""

    async def call(self, *command: Argument) -> Any:
        """Send one command; gives its answer.

        Raises one of redis's errors; after ConnectionError and TimeoutError nobody knows whether the command had its effect.
        """
        wire = self._wire
        if wire is None or wire.transport is None:
            wire = await self._connect()
        return self._good(await wire.send(command), wire)

    async def call_packed(self, command: bytes, take: Take) -> Any:
        """Send one packed command; gives what `take` makes of its answer, or raises like `call`.

        `take` is called as soon as the answer is read: before whoever waits for it is woken, and also when nobody waits any more.
        It must not block.
        """
        wire = self._wire
        if wire is None or wire.transport is None:
            wire = await self._connect()
        return self._good(await wire.send_packed(command, take), wire)

    async def calls(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send several commands at once; gives their answers in order, or raises the first error."""
        answers = await self.answers(commands)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        return answers

    async def answers(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send several commands at once over one connection; gives their answers in order, redis's errors among them.

        Raises ConnectionError or TimeoutError when the connection broke, whatever had been answered.
        """
        wire = self._wire
        if wire is None or wire.transport is None:
            wire = await self._connect()
        sent = [wire.send(tuple(command)) for command in commands]
        # Of several, the caller hears the first error; the others are theirs too, not the event loop's.
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, hiredis.ReplyError):
                raise answer
        return [
            self._error(answer, wire) if isinstance(answer, hiredis.ReplyError) else answer
            for answer in answers
        ]

    @classmethod
    def _good(cls, answer: Any, wire: Wire) -> Any:
        if not isinstance(answer, hiredis.ReplyError):
            return answer
        raise cls._error(answer, wire)

    @staticmethod
    def _error(answer: hiredis.ReplyError, wire: Wire) -> RedisError:
        error = to_error(answer)
        if isinstance(error, ReadOnlyError):
            # A failover has made this server a replica; its address may lead to another one by now.
            wire.fail(ConnectionError("this redis has become read-only"))
        return error

    def _leave_unless(self, place: Place) -> None:
        """Close the connection, unless it leads to a place: one to a primary that was frozen would never end by itself."""
        if self._place in (None, place):
            return
        if self._opening is not None:  # and it may wait long for a machine that is gone
            self._opening.reschedule(asyncio.get_running_loop().time())
        else:
            self.close()

    async def _connect(self) -> Wire:
        async with self._connecting:
            if self._wire is not None and self._wire.transport is not None:
                return self._wire
            self._refuse_ended()
            try:
                async with asyncio.timeout(self._timeout_seconds or 5.0) as self._opening:
                    wire = await self._open()
            except builtins.TimeoutError as error:
                raise TimeoutError(f"{self._there()} did not accept a connection in time") from error
            except OSError as error:
                raise ConnectionError(f"{self._there()} cannot be reached: {_reason(error)}") from error
            finally:
                self._opening = None
            self._wire = wire
            self.connections += 1
            if self._ended:  # meanwhile
                self.close()
                self._refuse_ended()
            return wire

    def _there(self) -> str:
        """Return what errors say was to be reached."""
        at = f" at {join_host_port(*self._place)}" if self._place else ""
        return f"{self._server}{at}{' over TLS' if self._lookup.address.is_tls else ''}"

    async def _open(self) -> Wire:
        loop, address = asyncio.get_running_loop(), self._lookup.address
        if address.socket:
            _, wire = await loop.create_unix_connection(self._new_wire, address.socket)
        else:
            self._place = host, port = await self._lookup.find()
            _, wire = await loop.create_connection(self._new_wire, host, port, ssl=_secured(address))
        try:
            for command in self._greeting():
                answer = await wire.send(command)
                if isinstance(answer, hiredis.ReplyError):
                    raise self._refusal(command, str(answer))
                if command[0] == "ROLE" and answer[0] != b"master":
                    raise ConnectionError("the sentinels name a primary that has become a replica")
        except BaseException:  # a cancel too: nobody else knows of this socket yet
            wire.fail(ConnectionError("the greeting was broken off"))
            raise
        return wire

    def _refusal(self, command: tuple[Argument, ...], answer: str) -> ConnectionError:
        subject = {"AUTH": "the password", "SELECT": f"database {command[-1]!s}"}.get(str(command[0]), "us")
        kind = Refused if is_for_good(answer) else ConnectionError
        return kind(f"{self._server} refused {subject}: {in_its_words(answer)}")

    def _greeting(self) -> list[tuple[Argument, ...]]:
        given = self._lookup.address.options
        greeting: list[tuple[Argument, ...]] = []
        if given.get("password"):
            user = [given["username"]] if given.get("username") else []
            greeting.append(("AUTH", *user, given["password"]))
        if given.get("db"):
            greeting.append(("SELECT", given["db"]))
        greeting.append(("CLIENT", "SETNAME", self._name))
        if self._lookup.moves:
            greeting.append(("ROLE",))
        return greeting

    def _new_wire(self) -> Wire:
        return Wire(self._timeout_seconds)

    def _refuse_ended(self) -> None:
        if self._ended:
            raise ConnectionError("this connection to redis was ended")

    def end(self) -> None:
        """Close the connection for good: whoever is late finds no other, which nobody would close."""
        self._ended = True
        self.close()

    def close(self) -> None:
        """Close the connection; commands under way fail, the next one opens another."""
        if self._wire is not None:
            self._wire.fail(ConnectionError("the connection to redis was closed"))
            self._wire = None
