"""Commands whose writes are on so many replicas when they are answered: WAIT, once for all that are sent together.

WAIT speaks for what was written over its own connection, and holds up what comes after it there. So these commands have a
connection of their own, and whatever comes while one WAIT is under way shares the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from redislink.pipe import Argument, Pipe
from redislink.retry import TRANSIENT_ERRORS

_MOST_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class Answered:
    """What a command was answered, and how many replicas had all writes up to then."""

    answer: Any
    replicas: int


class ReplicatedPipe:
    """Sends commands and waits for replicas. Must be used within one event loop."""

    def __init__(self, pipe: Pipe, replicas: int, seconds: float) -> None:
        """`pipe` is used by nobody else; `seconds` is how long a WAIT takes at most when replicas are missing."""
        self._pipe = pipe
        self._replicas = replicas
        self._milliseconds = max(1, round(seconds * 1000))
        self._waiting: list[tuple[tuple[Argument, ...], asyncio.Future[Answered]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def call(self, *command: Argument) -> Answered:
        """Send one command. Raises its error, or ConnectionError or TimeoutError: nobody knows then what came of it."""
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return await future

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST_TOGETHER], self._waiting[_MOST_TOGETHER:]
            commands: list[Sequence[Argument]] = [command for command, _ in batch]
            try:
                *answers, replicas = await self._pipe.answers(
                    [*commands, ("WAIT", self._replicas, self._milliseconds)]
                )
                if isinstance(replicas, RedisError):
                    raise replicas
            except (*TRANSIENT_ERRORS, RedisError) as error:
                _settle(batch, [error] * len(batch), 0)
            except BaseException:
                for _, future in batch:
                    future.cancel()
                raise
            else:
                _settle(batch, answers, replicas)

    async def aclose(self) -> None:
        """End the connection; what is under way fails."""
        self._pipe.end()
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)


def _settle(
    batch: Sequence[tuple[tuple[Argument, ...], asyncio.Future[Answered]]],
    answers: Sequence[Any],
    replicas: int,
) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(Answered(answer, replicas))
