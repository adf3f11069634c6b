"""Follows the end of one Redis stream from a remembered place, through every reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from redislink.patience import PASSING_ERRORS
from redislink.pipe import CommandHead, Pipe
from runtime.logs import get_logger

log = get_logger(__name__)

_BLOCK_MS = 30_000
_HEARD_SECONDS = 40.0
_PAGE = 512
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0

Entry = tuple[str, dict[bytes, bytes]]
"""Id and fields."""


class Tail:
    """One follower with a connection of its own: it blocks."""

    def __init__(
        self,
        pipe: Pipe,
        key: str,
        on_entries: Callable[[list[Entry]], None],
        on_placed: Callable[[], None],
    ) -> None:
        """`on_placed` is called whenever following begins, at first and after each break: what came before that may be unheard."""
        self._pipe = pipe
        self._key = key
        self._on_entries = on_entries
        self._on_placed = on_placed
        self._cursor = ""

    async def run(self) -> None:
        """Follow for ever."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                await self._find_place()
                wait = _FIRST_WAIT_SECONDS
                while True:
                    await self._turn()
            except (*PASSING_ERRORS, RedisError) as error:
                log.warning("a stream broke; following again", key=self._key, error=type(error).__name__)
                self._pipe.close()
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    async def _find_place(self) -> None:
        """Begin at the end; after a reconnect go on, unless the stream has been lost and begun again."""
        async with asyncio.timeout(_LONGEST_WAIT_SECONDS * 5):
            last = await self._pipe.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        newest = last[0][0].decode() if last else "0-0"
        if not self._cursor:
            self._cursor = newest
        elif _place(newest) < _place(self._cursor):
            self._cursor = "0-0"
        self._on_placed()

    async def _turn(self) -> None:
        command = CommandHead("XREAD", "COUNT", _PAGE, "BLOCK", _BLOCK_MS, "STREAMS", self._key)
        async with asyncio.timeout(_HEARD_SECONDS):
            await self._pipe.call_packed(command.command(self._cursor), self._take)

    def _take(self, found: Any) -> None:
        """Hand on what has come as soon as it is read: somebody waits for it."""
        if found:
            entries = [(entry_id.decode(), _fields(fields)) for entry_id, fields in found[0][1]]
            self._cursor = entries[-1][0]
            self._on_entries(entries)


def _place(entry_id: str) -> tuple[int, int]:
    milliseconds, _, count = entry_id.partition("-")
    return int(milliseconds), int(count or 0)


def _fields(flat: list[Any]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
