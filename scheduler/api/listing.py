"""Lists of tasks and of dead letters, page by page, over the indexes that the scripts keep."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson

from runtime.errors import InvalidArgument
from scheduler.api.page_token import Cursor, PageTokens
from scheduler.api.task_view import TaskView
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import STATES, StoredTask
from scheduler.queue.record import TaskRecord
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.task_store import TaskStore
from yivideo.task.v1 import task_pb2

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 500
_CHUNK = 200
_MOST_COUNTED = 20_000
_MOST_LOOKED_AT = 2000
"""A page looks at this many tasks at most; a rare condition gives short pages with a token instead of a long wait."""


@dataclass(frozen=True)
class Page:
    """One page and the token of the next."""

    tasks: list[task_pb2.Task]
    next_page_token: str
    total_count: int | None = None
    """How many there are in all; None: nobody asked, or it would take too long."""


@dataclass(frozen=True)
class Window:
    """A stretch of an index of tasks by the time they were accepted, read from one end; bounds as ZRANGEBYSCORE takes them."""

    index: str
    low: str
    high: str
    oldest_first: bool = False

    def at(self, score: int) -> Window:
        """Return the part that has one score."""
        return replace(self, low=str(score), high=str(score))

    def after(self, score: int) -> Window:
        """Return what is left from a score on, that one included."""
        return replace(self, low=str(score)) if self.oldest_first else replace(self, high=str(score))

    def is_seen(self, name: str, last: str) -> bool:
        """Whether, of those with one score, a task comes no later than the last one seen."""
        return name <= last if self.oldest_first else name >= last


class Listing:
    """Reads listings."""

    def __init__(
        self, redis: RedisLink, keys: Keys, tasks: TaskStore, view: TaskView, tokens: PageTokens
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._tasks = tasks
        self._view = view
        self._tokens = tokens

    async def tasks(self, request: task_pb2.ListTasksRequest) -> Page:
        """Return a page of tasks. Raises InvalidArgument for a foreign page token or a bad page size."""
        conditions = task_pb2.ListTasksRequest()
        conditions.CopyFrom(request)
        conditions.ClearField("page_token")
        conditions.ClearField("page_size")
        conditions.ClearField("with_total")
        bound = b"tasks\0" + conditions.SerializeToString(deterministic=True)
        after, before = _microseconds(request, "created_after"), _microseconds(request, "created_before")
        low = "-inf" if after is None else str(after)
        high = "+inf" if before is None else f"({before}"
        window = Window(
            self._index(request), low, high, oldest_first=request.order == task_pb2.TASK_ORDER_OLDEST_FIRST
        )

        def wanted(stored: StoredTask) -> bool:
            return _matches(stored.record, request)

        page = await self._page(window, bound, request.page_size, request.page_token, wanted)
        if not request.with_total:
            return page
        return Page(page.tasks, page.next_page_token, await self._total(window, request))

    async def dead_letters(self, request: task_pb2.ListDeadLettersRequest) -> Page:
        """Return a page of dead letters, by the time they died. Raises InvalidArgument as `tasks`."""
        index = self._keys.queue(request.node, "dead") if request.node else self._keys.dead
        bound = b"dead\0" + request.node.encode()
        return await self._page(
            Window(index, "-inf", "+inf"), bound, request.page_size, request.page_token, lambda _: True
        )

    def _index(self, request: task_pb2.ListTasksRequest) -> str:
        """The narrowest index for the conditions."""
        if request.workflow_id:
            return self._keys.workflow(request.workflow_id)
        if request.user:
            return self._keys.user_tasks(request.user)
        return self._keys.tasks

    async def _page(
        self,
        window: Window,
        conditions: bytes,
        page_size: int,
        token: str,
        wanted: Callable[[StoredTask], bool],
    ) -> Page:
        if not 0 <= page_size <= _LARGEST_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 0 to {_LARGEST_PAGE}")
        size = page_size or _DEFAULT_PAGE
        cursor = self._tokens.read(conditions, token)
        found: list[task_pb2.Task] = []
        looked_at = 0
        async with aclosing(self._walk(window, cursor)) as walk:
            async for place, stored in walk:
                if len(found) == size or looked_at == _MOST_LOOKED_AT:
                    return Page(found, self._tokens.make(conditions, cursor or (0, "")))
                cursor = place
                looked_at += 1
                if stored is not None and wanted(stored):
                    found.append(self._view.task(stored, brief=True))
        return Page(found, "")

    async def _walk(
        self, window: Window, cursor: Cursor | None
    ) -> AsyncGenerator[tuple[Cursor, StoredTask | None], None]:
        """Yield places after the cursor, in the window's order; a place whose record has expired has none.

        Scores may tie, so the walk goes on at the cursor's score and leaves out what it has seen there.
        """
        while True:
            skip = 0
            if cursor is not None:
                tied = await self._entries(window.at(cursor[0]), 0, -1)
                skip = sum(1 for name, _ in tied if window.is_seen(name.decode(), cursor[1]))
            entries = await self._entries(window if cursor is None else window.after(cursor[0]), skip, _CHUNK)
            names = [name.decode() for name, _ in entries]
            stored = {one.record.task_id: one for one in await self._tasks.load_many(names)}
            for name, (_, score) in zip(names, entries, strict=True):
                cursor = (int(score), name)
                yield cursor, stored.get(name)
            if len(entries) < _CHUNK:
                return

    async def _entries(self, window: Window, skip: int, most: int) -> list[tuple[bytes, float]]:
        def reads(pipe: Any) -> None:
            if window.oldest_first:
                pipe.zrangebyscore(window.index, window.low, window.high, skip, most, withscores=True)
            else:
                pipe.zrevrangebyscore(window.index, window.high, window.low, skip, most, withscores=True)

        (entries,) = await self._redis.read(reads)
        found: list[tuple[bytes, float]] = entries
        return found

    async def _total(self, window: Window, request: task_pb2.ListTasksRequest) -> int | None:
        """Count the tasks of a listing; None when too many places would have to be looked at."""
        (places,) = await self._redis.read(lambda pipe: pipe.zcount(window.index, window.low, window.high))
        if _is_index_enough(request):
            return int(places)
        if places > _MOST_COUNTED:
            return None
        total = 0
        for skip in range(0, places, _CHUNK):
            entries = await self._entries(window, skip, _CHUNK)
            records = await self._tasks.load_records([name.decode() for name, _ in entries])
            total += sum(_matches(record, request) for record in records)
        return total


def _microseconds(request: task_pb2.ListTasksRequest, field: str) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    try:
        return int(getattr(request, field).ToMicroseconds())
    except ValueError:
        raise InvalidArgument.at(f"/{field}", "not a time") from None


def _is_index_enough(request: task_pb2.ListTasksRequest) -> bool:
    """Whether the index alone tells which tasks fit."""
    narrowed = bool(request.states or request.task_name or request.labels)
    return not narrowed and not (request.user and request.workflow_id)


def _matches(record: TaskRecord, request: task_pb2.ListTasksRequest) -> bool:
    if request.states:
        states = set(request.states)
        if task_pb2.TASK_STATE_UNSPECIFIED not in states and STATES[record.state] not in states:
            return False
    if request.task_name and record.name != request.task_name:
        return False
    if request.user and record.user != request.user:
        return False
    if request.workflow_id and record.workflow_id != request.workflow_id:
        return False
    if request.labels:
        labels = orjson.loads(record.labels) if record.labels else {}
        return all(labels.get(key) == value for key, value in request.labels.items())
    return True
