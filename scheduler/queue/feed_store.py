"""The events of all tasks in one order, out of a stream that says only where each lies: what it says goes with its task."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime.errors import InvalidArgument
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import to_event
from scheduler.queue.redis_link import RedisLink
from yivideo.task.v1 import task_pb2

PAGE = 256
_CURSOR = re.compile(r"(\d{1,15})-(\d{1,10})")

Cursor = tuple[int, int]
"""A Redis stream id: milliseconds and a number within them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one event lies."""

    cursor: Cursor
    task_id: str
    sequence: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose event it is: what watchers choose by."""

    user: str
    workflow_id: str
    labels: dict[str, str]


def to_text(cursor: Cursor) -> str:
    """Return a cursor as clients hold it."""
    return f"{cursor[0]}-{cursor[1]}"


def to_cursor(text: str) -> Cursor:
    """Read a client's cursor. Raises InvalidArgument."""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidArgument.at("/after_cursor", "not a cursor of this stream")
    return int(found[1]), int(found[2])


def to_places(entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[Place]:
    """Read entries of the stream."""
    places = []
    for entry_id, fields in entries:
        sequence, time_ms, task_id = fields[b"v"].decode().split(" ", 2)
        places.append(Place(to_cursor(entry_id.decode()), task_id, int(sequence), int(time_ms)))
    return places


class FeedStore:
    """Reads the feed."""

    def __init__(self, redis: RedisLink, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def bounds(self) -> tuple[Cursor | None, Cursor]:
        """Return the first entry that is kept, None when none is, and the last that was ever added."""

        def reads(pipe: Any) -> None:
            pipe.xrange(self._keys.feed, count=1)
            pipe.xrevrange(self._keys.feed, count=1)

        first, last = await self._redis.read(reads)
        if not first:
            return None, (0, 0)
        return to_cursor(first[0][0].decode()), to_cursor(last[0][0].decode())

    async def page(self, after: Cursor) -> list[Place]:
        """Return the places after a cursor, PAGE at most."""
        (entries,) = await self._redis.read(
            lambda pipe: pipe.xrange(self._keys.feed, min=f"({to_text(after)}", count=PAGE)
        )
        return to_places(entries)

    async def events(
        self, places: Sequence[Place], wanted: Callable[[Owner], bool]
    ) -> list[tuple[Place, Owner, task_pb2.TaskEvent]]:
        """Return those of the events that are still there and whose owner is wanted, in their order."""
        owners = await self._owners(places)
        chosen = [
            (place, owner) for place, owner in zip(places, owners, strict=True) if owner and wanted(owner)
        ]
        if not chosen:
            return []

        def reads(pipe: Any) -> None:
            for place, _ in chosen:
                at = f"{place.sequence}-0"
                pipe.xrange(self._keys.task(place.task_id, "ev"), min=at, max=at)

        found = []
        for (place, owner), entries in zip(chosen, await self._redis.read(reads), strict=True):
            if (
                entries and int(entries[0][1][b"t"]) == place.time_ms
            ):  # else it is another task's, of the same id
                found.append((place, owner, await self._event(place, entries[0][1])))
        return found

    async def _owners(self, places: Sequence[Place]) -> list[Owner | None]:
        if not places:
            return []

        def reads(pipe: Any) -> None:
            for place in places:
                pipe.hmget(self._keys.task(place.task_id), "user", "workflow", "labels")

        return [
            None
            if user is None
            else Owner(user.decode(), (workflow or b"").decode(), orjson.loads(labels) if labels else {})
            for user, workflow, labels in await self._redis.read(reads)
        ]

    async def _event(self, place: Place, fields: dict[bytes, bytes]) -> task_pb2.TaskEvent:
        event = to_event(place.task_id, place.sequence, int(fields[b"a"]), place.time_ms, fields[b"e"])
        if fields[b"d"] == b"1":
            (result,) = await self._redis.read(
                lambda pipe: pipe.get(self._keys.task(place.task_id, "result"))
            )
            if result:
                event.completed.ParseFromString(result)
        return event
