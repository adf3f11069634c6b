"""Lists of tasks and of dead letters, newest first, page by page, over the indexes that the scripts keep."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import orjson

from runtime.errors import InvalidArgument
from scheduler.api.page_token import Cursor, PageTokens
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import STATES, StoredTask, to_task
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.task_store import TaskStore
from yivideo.task.v1 import task_pb2

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 500
_CHUNK = 200
_MOST_LOOKED_AT = 2000
"""A page looks at this many tasks at most; a rare condition gives short pages with a token instead of a long wait."""


@dataclass(frozen=True)
class Page:
    """One page and the token of the next."""

    tasks: list[task_pb2.Task]
    next_page_token: str


class Listing:
    """Reads listings."""

    def __init__(self, redis: RedisLink, keys: Keys, tasks: TaskStore, tokens: PageTokens) -> None:
        self._redis = redis
        self._keys = keys
        self._tasks = tasks
        self._tokens = tokens

    async def tasks(self, request: task_pb2.ListTasksRequest) -> Page:
        """Return a page of tasks. Raises InvalidArgument for a foreign page token or a bad page size."""
        conditions = task_pb2.ListTasksRequest()
        conditions.CopyFrom(request)
        conditions.ClearField("page_token")
        conditions.ClearField("page_size")
        bound = b"tasks\0" + conditions.SerializeToString(deterministic=True)
        after, before = _microseconds(request, "created_after"), _microseconds(request, "created_before")
        return await self._page(
            self._index(request), bound, request.page_size, request.page_token,
            lambda stored: _matches(stored, request), oldest_us=after, before_us=before,
        )  # fmt: skip

    async def dead_letters(self, request: task_pb2.ListDeadLettersRequest) -> Page:
        """Return a page of dead letters, by the time they died. Raises InvalidArgument as `tasks`."""
        index = self._keys.queue(request.node, "dead") if request.node else self._keys.dead
        bound = b"dead\0" + request.node.encode()
        return await self._page(
            index,
            bound,
            request.page_size,
            request.page_token,
            lambda _: True,
            oldest_us=None,
            before_us=None,
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
        index: str,
        conditions: bytes,
        page_size: int,
        token: str,
        wanted: Callable[[StoredTask], bool],
        *,
        oldest_us: int | None,
        before_us: int | None,
    ) -> Page:
        if not 0 <= page_size <= _LARGEST_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 0 to {_LARGEST_PAGE}")
        size = page_size or _DEFAULT_PAGE
        cursor = self._tokens.read(conditions, token)
        found: list[task_pb2.Task] = []
        looked_at = 0
        low = "-inf" if oldest_us is None else str(oldest_us)
        high = "+inf" if before_us is None else f"({before_us}"
        async with aclosing(self._walk(index, cursor, low, high)) as walk:
            async for place, stored in walk:
                if len(found) == size or looked_at == _MOST_LOOKED_AT:
                    return Page(found, self._tokens.make(conditions, cursor or (0, "")))
                cursor = place
                looked_at += 1
                if stored is not None and wanted(stored):
                    found.append(to_task(stored, brief=True))
        return Page(found, "")

    async def _walk(
        self, index: str, cursor: Cursor | None, low: str, high: str
    ) -> AsyncGenerator[tuple[Cursor, StoredTask | None], None]:
        """Yield places after the cursor, newest first; a place whose record has expired has none.

        Scores may tie, so the walk goes on at the cursor's score and leaves out what it has seen there.
        """
        while True:
            top = high if cursor is None else str(cursor[0])
            seen_at_top = 0
            if cursor is not None:
                (tied,) = await self._redis.read(
                    lambda pipe, score=cursor[0]: pipe.zrevrangebyscore(index, score, score)  # type: ignore[misc]
                )
                seen_at_top = sum(1 for name in tied if name.decode() >= cursor[1])
            (entries,) = await self._redis.read(
                lambda pipe, top=top, skip=seen_at_top: pipe.zrevrangebyscore(  # type: ignore[misc]
                    index, top, low, start=skip, num=_CHUNK, withscores=True
                )
            )
            names = [name.decode() for name, _ in entries]
            stored = {one.record.task_id: one for one in await self._tasks.load_many(names)}
            for name, (_, score) in zip(names, entries, strict=True):
                cursor = (int(score), name)
                yield cursor, stored.get(name)
            if len(entries) < _CHUNK:
                return


def _microseconds(request: task_pb2.ListTasksRequest, field: str) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type]
        return None
    try:
        return int(getattr(request, field).ToMicroseconds())
    except ValueError:
        raise InvalidArgument.at(f"/{field}", "not a time") from None


def _matches(stored: StoredTask, request: task_pb2.ListTasksRequest) -> bool:
    record = stored.record
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
