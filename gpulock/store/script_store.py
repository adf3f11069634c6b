"""Runs the lock scripts: what each of them is given, and what each of them answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from redis.exceptions import ResponseError

from gpulock.store.keys import Keys
from gpulock.store.record import Record, to_leased, to_record
from redislink.lua import load_library
from redislink.pipe import Argument, CommandHead, Pipe
from redislink.retry import TRANSIENT_ERRORS, retry

WHAT = "the lock store"
SETTING = "gpulock.redis_url"
"""The same Redis as clients hear it named, and as its operator sets it."""


class Push(NamedTuple):
    """Something that a client of this replica must hear."""

    kind: str
    record: Record
    extra: str
    now_us: int


class Reply(NamedTuple):
    """What a script answered; times are logical µs."""

    now_us: int
    epoch: int
    recovering: bool
    token: int
    due_us: int
    """The first of the deadlines that the script set, of all there are after a sweep; -1: none."""
    results: list[Any]
    pushes: tuple[Push, ...]
    open_us: int
    """When a recovery ends; 0: unknown, or none is under way."""

    @property
    def outcome(self) -> str:
        """The first result, which names the outcome."""
        return text(self.results[0])


OnReply = Callable[[Reply], None]
"""Called with an answer the moment it is there: pushes must not wait until the caller's task has its turn, nor be lost with it."""


class Scripts(Protocol):
    """What the lessor needs of a store."""

    async def run(self, script: str, *arguments: Argument, on_reply: OnReply) -> Reply:
        """Run a script, again if need be until Redis answers; raises Unavailable."""


def text(value: bytes | str | int) -> str:
    """Return what Redis gave as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def to_notice(message: bytes) -> Push | str:
    """Read a message of an inbox: what a client must hear, or what has changed for all (`queue`, `configured`)."""
    parts = json.loads(message)
    if len(parts) == 1:
        return str(parts[0])
    return _push(parts[0], parts[1], parts[2], int(parts[3]))


def _push(kind: str, fields: Sequence[bytes | str | int], extra: str, now_us: int) -> Push:
    return Push(kind, to_leased(fields) if kind == "granted" else to_record(fields), extra, now_us)


class ScriptStore:
    """The scripts on one Redis, for one replica."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        *,
        replica: str,
        retry_seconds: float,
        initial_state: str,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        """`clock_us` replaces Redis's own clock, for tests."""
        self._pipe = pipe
        self._fixed: tuple[Argument, ...] = (len(keys.all), *keys.all, ",".join(keys.pools), replica)
        self._retry_seconds = retry_seconds
        self._initial_state = initial_state
        self._clock_us = clock_us
        self._library = load_library("gpulock")
        self._heads: dict[str, CommandHead] = {}
        self.token = 0
        """Highest fencing token seen; what keeps tokens rising when the store has lost its memory."""
        self.epoch = 0
        """Highest epoch seen."""
        self.on_messages_lost: Callable[[], None] = lambda: None
        """Called at the first answer over a new connection: what the old one had yet to bring for clients was lost with it."""
        self._connections = 1

    async def run(self, script: str, *arguments: Argument, on_reply: OnReply) -> Reply:
        """Run a script. All are idempotent, so one whose answer was lost is simply run again."""

        def take(answer: list[Any]) -> Reply:
            reply = self._read(answer)
            on_reply(reply)
            if self._pipe.connections != self._connections:
                self._connections = self._pipe.connections
                self.on_messages_lost()
            return reply

        try:
            return await self._attempt(script, arguments, take)
        except TRANSIENT_ERRORS:
            return await retry(
                lambda: self._attempt(script, arguments, take), self._retry_seconds, WHAT, setting=SETTING
            )

    async def _attempt(
        self, script: str, arguments: tuple[Argument, ...], take: Callable[[list[Any]], Reply]
    ) -> Reply:
        clock: Argument = "" if self._clock_us is None else self._clock_us()
        given = (self.token, clock, self.epoch, self._initial_state, *arguments)
        command = self._head(script).command(*given)
        try:
            reply: Reply = await self._pipe.call_packed(command, take)
        except ResponseError as error:  # a Redis that is new to us, or has lost its memory
            if not self._library.is_missing(error):
                raise
            await self._library.load(self._pipe)
            reply = await self._pipe.call_packed(command, take)
        return reply

    def _head(self, script: str) -> CommandHead:
        head = self._heads.get(script)
        if head is None:
            head = self._heads[script] = CommandHead(*self._library.head(script), *self._fixed)
        return head

    async def forget_other_versions(self) -> None:
        """Delete the libraries of other versions."""
        forget = partial(self._library.forget_other_versions, self._pipe)
        await retry(forget, self._retry_seconds, WHAT, setting=SETTING)

    def _read(self, answer: list[Any]) -> Reply:
        now, epoch, phase, token, due, results, pushes, open_at = answer
        reply = Reply(
            now, epoch, phase == b"recover", token, due, results,
            tuple([_push(text(kind), record, text(extra), now) for kind, record, extra in pushes]),
            open_at,
        )  # fmt: skip
        self.token = max(self.token, reply.token)
        self.epoch = max(self.epoch, reply.epoch)
        return reply

    async def read(self, *command: Argument) -> Any:
        """Run one reading command with the same retries."""
        return await retry(lambda: self._pipe.call(*command), self._retry_seconds, WHAT, setting=SETTING)


def exported(value: Sequence[bytes]) -> Record | None:
    """Read a result that is a record, or empty."""
    return to_record(value) if value else None
