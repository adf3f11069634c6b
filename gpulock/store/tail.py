"""Follows the ends of Redis streams from remembered places, through every reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from redislink.pipe import CommandHead, Pipe
from redislink.retry import TRANSIENT_ERRORS
from runtime.backoff import Backoff
from runtime.logs import get_logger
from runtime.seldom import Seldom

log = get_logger(__name__)
seldom = Seldom(log)

_BLOCK_MS = 30_000
_HEARD_SECONDS = 40.0
_PAGE = 512
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0

Entry = tuple[str, dict[bytes, bytes]]
"""Id and fields."""


class Tail:
    """One follower of some streams with a connection of its own: it blocks."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Sequence[str],
        on_entries: Callable[[list[Entry]], None],
        on_placed: Callable[[], None],
    ) -> None:
        """`on_placed` is called whenever following begins, at first and after each break: what came before that may be unheard."""
        self._pipe = pipe
        self._keys = tuple(keys)
        self._on_entries = on_entries
        self._on_placed = on_placed
        self._cursors: dict[str, str] = {}
        self._reading = CommandHead("XREAD", "COUNT", _PAGE, "BLOCK", _BLOCK_MS, "STREAMS", *self._keys)

    async def run(self) -> None:
        """Follow for ever."""
        backoff = Backoff(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        while True:
            try:
                await self._find_places()
                backoff.reset()
                while True:
                    await self._turn()
            except (*TRANSIENT_ERRORS, RedisError) as error:
                seldom.warning("a stream broke; following again", keys=self._keys, error=type(error).__name__)
                self._pipe.close()
            await backoff.pause()

    async def _find_places(self) -> None:
        """Begin at the ends; after a reconnect go on, unless a stream has been lost and begun again."""
        for key in self._keys:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS * 5):
                last = await self._pipe.call("XREVRANGE", key, "+", "-", "COUNT", 1)
            newest = last[0][0].decode() if last else "0-0"
            cursor = self._cursors.setdefault(key, newest)
            if _place(newest) < _place(cursor):
                self._cursors[key] = "0-0"
        self._on_placed()

    async def _turn(self) -> None:
        places = [self._cursors[key] for key in self._keys]
        async with asyncio.timeout(_HEARD_SECONDS):
            await self._pipe.call_packed(self._reading.command(*places), self._take)

    def _take(self, found: Any) -> None:
        """Hand on what has come as soon as it is read: somebody waits for it."""
        for key, stored in found or ():
            entries = [(entry_id.decode(), _fields(fields)) for entry_id, fields in stored]
            self._cursors[key.decode()] = entries[-1][0]
            self._on_entries(entries)


def _place(entry_id: str) -> tuple[int, int]:
    milliseconds, _, count = entry_id.partition("-")
    return int(milliseconds), int(count or 0)


def _fields(flat: list[Any]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
