"""Streams of lock events: a cursor for each watcher in one stream of the store, and one bell for all."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator

from gpulock import metrics
from gpulock.api.presenter import from_microseconds
from gpulock.store.keys import Keys
from gpulock.store.script_store import ScriptStore
from gpulock.store.tail import Entry, Tail
from redislink.pipe import Pipe
from runtime.errors import Draining, InvalidArgument, RangeRefused
from yivideo.gpulock.v1 import monitor_pb2

_PAGE = 256
_GONE = "the event is no longer kept; list the history, then watch from now on"
_BEGINNING = "0-0"
_ID = re.compile(r"^\d{1,15}-\d{1,12}$")


class LockWatch:
    """All watchers of one replica. The stream is followed only while there is one."""

    def __init__(self, store: ScriptStore, keys: Keys, pipe: Pipe, *, heartbeat_seconds: float) -> None:
        self._store = store
        self._key = keys.events
        self._pipe = pipe
        self._heartbeat_seconds = heartbeat_seconds
        self._bells: set[asyncio.Event] = set()
        self._tail: asyncio.Task[None] | None = None
        self._draining = False

    def drain(self) -> None:
        """Send every watcher elsewhere, with the id to go on after."""
        self._draining = True
        self._ring()

    async def aclose(self) -> None:
        """Stop following."""
        if self._tail is not None:
            self._tail.cancel()
            await asyncio.gather(self._tail, return_exceptions=True)
        self._pipe.end()

    async def watch(self, pool: str, after: str) -> AsyncGenerator[monitor_pb2.LockEvent, None]:
        """Yield events from now on, or after an id; an empty one at once and when nothing happened for a while.

        Raises RangeRefused when the id is older than what is kept, or the reader so slow that what it has yet to read is not.
        """
        cursor = await self._place(after)
        seen = not after and cursor != _BEGINNING
        bell = asyncio.Event()
        self._join(bell)
        try:
            yield monitor_pb2.LockEvent(event_id=cursor)  # from here on nothing is missed
            while True:
                bell.clear()
                # With the last one that was seen: where that is no longer kept, others behind it may be missing too.
                start = cursor if seen else f"({cursor}"
                page = await self._store.read("XRANGE", self._key, start, "+", "COUNT", _PAGE + seen)
                if seen and (not page or page.pop(0)[0].decode() != cursor):
                    raise RangeRefused(_GONE)
                seen = seen or bool(page)
                for entry_id, (_, stored) in page:
                    cursor = entry_id.decode()
                    event = to_event(cursor, stored)
                    if not pool or event.pool in ("", pool):
                        yield event
                if len(page) == _PAGE:
                    continue
                if self._draining:
                    raise Draining("this lock service replica is shutting down")
                try:
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await bell.wait()
                except TimeoutError:
                    yield monitor_pb2.LockEvent(event_id=cursor)
        finally:
            self._bells.discard(bell)
            metrics.WATCHERS.set(len(self._bells))

    async def _place(self, after: str) -> str:
        if after and not _ID.match(after):
            raise InvalidArgument.at("/after_event_id", "is not an event id")
        if not after:
            last = await self._store.read("XREVRANGE", self._key, "+", "-", "COUNT", 1)
            return last[0][0].decode() if last else _BEGINNING
        if not await self._store.read("EXISTS", self._key):
            if _number(after) > (0, 0):
                raise RangeRefused(_GONE)
            return after
        facts = await self._store.read("XINFO", "STREAM", self._key)
        known = dict(zip(facts[::2], facts[1::2], strict=True))
        first = known[b"first-entry"]
        trimmed = known[b"entries-added"] > known[b"length"]
        if trimmed and (not first or _number(first[0].decode()) > _number(after)):
            raise RangeRefused(_GONE)
        if _number(after) > _number(known[b"last-generated-id"].decode()):
            raise RangeRefused(_GONE)  # the store has lost its memory since
        return after

    def _join(self, bell: asyncio.Event) -> None:
        self._bells.add(bell)
        metrics.WATCHERS.set(len(self._bells))
        if self._tail is None or self._tail.done():
            self._tail = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        tail = Tail(self._pipe, (self._key,), self._heard, self._ring)
        following = asyncio.create_task(tail.run())
        try:
            while self._bells:
                await asyncio.wait([following], timeout=self._heartbeat_seconds)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self._pipe.close()

    def _heard(self, _: list[Entry]) -> None:
        self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()


def _number(entry_id: str) -> tuple[int, int]:
    milliseconds, _, count = entry_id.partition("-")
    return int(milliseconds), int(count)


def to_event(event_id: str, stored: bytes) -> monitor_pb2.LockEvent:
    """Read a stored event (`emit` in prelude.lua)."""
    kind, pool, request_id, task_id, devices, token, reason, client_id, time_us = json.loads(stored)
    return monitor_pb2.LockEvent(
        event_id=event_id,
        type=kind,
        pool=pool,
        request_id=request_id,
        task_id=task_id,
        devices=[part.rpartition(":")[0] or part for part in devices.split(",") if part],
        token=int(token),
        reason=reason,
        time=from_microseconds(int(time_us)),
        client_id=client_id,
    )
