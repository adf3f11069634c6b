"""The scheduler's connection to Redis: scripts by name, reads in one round trip, reconnection with back-off.

Every script is idempotent, so a call whose answer was lost is simply made again; that is why one place may retry them all. What a
client is told to be done goes through `promise`, where `scheduler.min_replicas` asks for replicas that have it.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from redislink.lua import Library, load_library
from redislink.pipe import Argument, Pipe
from redislink.primary import Primary
from redislink.replicated import Answered, ReplicatedPipe
from redislink.retry import TRANSIENT_ERRORS, retry
from redislink.start import await_redis
from runtime.background import background
from runtime.errors import Unavailable
from scheduler.settings import SchedulerSection

__all__ = ["TRANSIENT_ERRORS", "RedisLink", "connected"]

T = TypeVar("T")

_NAME = "yivideo-scheduler"
_WHAT = "the task store"
_SETTING = "scheduler.redis_url"


@dataclass(frozen=True)
class Promised:
    """What a script answered, and why nobody may be told of it yet."""

    answer: Any
    refusal: Unavailable | None = None

    def told(self) -> Any:
        """Return the answer. Raises Unavailable when too few replicas have what the script wrote."""
        if self.refusal is not None:
            raise self.refusal
        return self.answer


class RedisLink:
    """One process's Redis. Opened by `connected()`; `library` replaces that of `lua/`."""

    def __init__(self, settings: SchedulerSection, library: Library | None = None) -> None:
        self._retry_seconds = settings.redis_retry_seconds
        self._prefix = settings.key_prefix
        self._library = library or load_library("scheduler")
        options: dict[str, Any] = {
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 5.0,
            "socket_connect_timeout": 2.0,
            "health_check_interval": 15,
        }
        self.primary = Primary(settings.redis_url.get_secret_value(), name=_NAME)
        self._commands: Redis = self.primary.client(**options)
        """Composes commands and reads their answers; it sends none."""
        seconds = options["socket_timeout"]
        self._pipe = Pipe(self.primary, name=_NAME, timeout_seconds=seconds)
        # A subscriber waits for ever by design, so it must not share the pool, nor its socket timeout.
        self.listener: Redis = self.primary.client(max_connections=4, **(options | {"socket_timeout": None}))
        self._min_replicas = settings.min_replicas
        self._replicated = ReplicatedPipe(
            Pipe(
                self.primary,
                name=f"{_NAME}-promises",
                timeout_seconds=seconds + settings.min_replicas_seconds,
            ),
            settings.min_replicas,
            settings.min_replicas_seconds,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        self._pipe.end()
        await self._replicated.aclose()
        await self._commands.aclose()
        await self.listener.aclose()
        self.primary.end()

    async def run(
        self,
        script: str,
        arguments: Sequence[Argument],
        *,
        keys: Sequence[str] = (),
        retry_seconds: float | None = None,
    ) -> Any:
        """Run a script of `lua/`. Raises Unavailable when Redis cannot be reached for `retry_seconds`.

        `keys` declares the keys known beforehand; the prefix is passed by itself.
        """
        command = (*self._library.head(script), len(keys), *keys, self._prefix, *arguments)
        try:
            return await self._pipe.call(*command)
        except TRANSIENT_ERRORS:  # some are answers of Redis too: it is read-only, or behind
            pass
        except ResponseError as error:
            if not self._library.is_missing(error):
                raise
        return await self.retry(partial(self._again, command), retry_seconds)

    async def _again(self, command: Sequence[Argument]) -> Any:
        await self._library.load(self._pipe)
        return await self._pipe.call(*command)

    async def promise(
        self, script: str, arguments: Sequence[Argument], *, keys: Sequence[str] = ()
    ) -> Promised:
        """Run a script whose effect a client is told of, and wait until `scheduler.min_replicas` have it.

        A connection that breaks meanwhile, as in a failover, proves nothing: the script is run again, where Redis is then. Raises
        Unavailable when Redis cannot be reached.
        """
        if not self._min_replicas:
            return Promised(await self.run(script, arguments, keys=keys))
        command = (*self._library.head(script), len(keys), *keys, self._prefix, *arguments)

        async def attempt() -> Answered:
            try:
                return await self._replicated.call(*command)
            except ResponseError as error:
                if not self._library.is_missing(error):
                    raise
            await self._library.load(self._pipe)
            return await self._replicated.call(*command)

        began = time.monotonic()
        answered = await self.retry(attempt, None)
        if answered.replicas >= self._min_replicas:
            return Promised(answered.answer)
        return Promised(
            answered.answer,
            Unavailable(
                f"what was asked is stored, but {answered.replicas} of {self._min_replicas} replicas of the task store "
                f"(scheduler.min_replicas) had it after {time.monotonic() - began:.1f} s, so it is not promised: ask again with "
                "the same id",
                retry_after_seconds=1.0,
            ),
        )

    async def read(self, commands: Callable[[Any], None]) -> list[Any]:
        """Send the reads that `commands` queues on a pipeline in one round trip; gives their answers."""

        async def attempt() -> list[Any]:
            pipe: Any = self._commands.pipeline(transaction=False)
            commands(pipe)
            stack = pipe.command_stack
            if not stack:
                return []
            replies = await self._pipe.calls([words for words, _ in stack])
            callbacks = self._commands.response_callbacks
            return [
                _plain(callbacks.get(words[0]), reply, options)
                for (words, options), reply in zip(stack, replies, strict=True)
            ]

        return await self.retry(attempt, None)

    async def info(self) -> bytes:
        """Return what Redis says about itself; asked once, whatever comes of it."""
        told: bytes = await self._pipe.call("INFO")
        return told

    async def ping(self, retry_seconds: float) -> None:
        """Wait at the start until Redis answers. Raises SettingsError."""
        await await_redis(lambda: self._pipe.call("PING"), retry_seconds, _WHAT, setting=_SETTING)

    async def forget_other_versions(self) -> None:
        """Delete the libraries of other versions. Raises Unavailable when Redis cannot be reached."""
        await self.retry(partial(self._library.forget_other_versions, self._pipe), None)

    async def retry(self, attempt: Callable[[], Awaitable[T]], retry_seconds: float | None) -> T:
        """Repeat an idempotent attempt while Redis is away, for `retry_seconds` at most (default: the settings')."""
        seconds = self._retry_seconds if retry_seconds is None else retry_seconds
        return await retry(attempt, seconds, _WHAT, setting=_SETTING)


def random_token() -> str:
    """Return 32 random hexadecimal digits, which tell a repetition of a call from another call."""
    return os.urandom(16).hex()


def named(names: Mapping[str, Argument], record: Mapping[str, Argument] | None = None) -> list[Argument]:
    """Return arguments for a script that reads them by name (`named_arguments`), then the fields its record begins with."""
    arguments: list[Argument] = [part for pair in names.items() for part in pair]
    if record is not None:
        arguments += ["record", ""]
        arguments += [part for pair in record.items() for part in pair]
    return arguments


def _plain(read: Callable[..., Any] | None, reply: Any, options: dict[str, Any]) -> Any:
    """Return a reply as redis-py would: `read` is its reader for the command."""
    if read is None:
        return reply
    options.pop("keys", None)  # only for its cache
    return read(reply, **options)


@asynccontextmanager
async def connected(settings: SchedulerSection) -> AsyncIterator[RedisLink]:
    """Open the link for the time of a block; it connects with its first call."""
    link = RedisLink(settings)
    try:
        async with background("search for the primary", link.primary.follow()):
            yield link
    finally:
        await link.aclose()
