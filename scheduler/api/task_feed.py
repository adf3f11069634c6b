"""WatchEvents: the events of many tasks, in the order in which they were stored.

All watchers of a process share one reader of the stream, which blocks in Redis while somebody watches and looks up each new event
once. It keeps the latest in memory; a watcher that is further behind reads pages of its own until it has caught up, so a slow
client holds nothing up and costs bounded memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from results.states import TERMINAL_EVENTS
from runtime.errors import Draining, InvalidArgument, Unavailable
from runtime.logs import get_logger
from scheduler.queue.feed_store import PAGE, Cursor, FeedStore, Owner, Place, to_cursor, to_places, to_text
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import TRANSIENT_ERRORS, RedisLink
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

KINDS = frozenset(
    {"accepted", "started", "progress", "log", "waiting_for_gpu", "retrying", "cancelling", *TERMINAL_EVENTS}
)
_KEPT = 1024
_KEPT_BYTES = 4 * 1024 * 1024
_BLOCK_MS = 5000
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Told:
    """One event in memory."""

    cursor: Cursor
    owner: Owner
    event: task_pb2.TaskEvent
    size_bytes: int


class _Choice:
    """What one watcher wants."""

    def __init__(self, request: task_pb2.WatchEventsRequest) -> None:
        self._request = request
        self._labels = dict(request.labels)
        self._kinds = frozenset(request.kinds)
        if unknown := self._kinds - KINDS:
            raise InvalidArgument.at(
                "/kinds", f"{sorted(unknown)[0][:64]!r} is none of: {', '.join(sorted(KINDS))}"
            )

    def has_owner(self, owner: Owner) -> bool:
        asked = self._request
        return (
            (not asked.user or owner.user == asked.user)
            and (not asked.workflow_id or owner.workflow_id == asked.workflow_id)
            and all(owner.labels.get(name) == value for name, value in self._labels.items())
        )

    def has_kind(self, event: task_pb2.TaskEvent) -> bool:
        kind = event.WhichOneof("event")
        return kind in (self._kinds or KINDS)


class TaskFeed:
    """All watchers of one process."""

    def __init__(
        self,
        store: FeedStore,
        redis: RedisLink,
        keys: Keys,
        draining: asyncio.Event,
        *,
        heartbeat_seconds: float,
    ) -> None:
        self._store = store
        self._redis = redis
        self._keys = keys
        self._draining = draining
        self._heartbeat_seconds = heartbeat_seconds
        self._choices: set[_Choice] = set()
        self._watched = asyncio.Event()
        self._changed = asyncio.Event()
        self._told: deque[_Told] = deque()
        self._told_bytes = 0
        self._floor: Cursor | None = None
        """Everything after this and up to `_head` that somebody wanted is in `_told`; None: nothing is known."""
        self._head: Cursor = (0, 0)

    @property
    def watcher_count(self) -> int:
        """Watchers of many tasks."""
        return len(self._choices)

    async def run(self) -> None:
        """Read the stream for ever, while somebody watches."""
        while True:
            await self._watched.wait()
            try:
                await self._read_on()
            except (Unavailable, *TRANSIENT_ERRORS, RedisError) as error:
                log.warning("the feed broke; reading again", error=type(error).__name__)
                self._forget()
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read_on(self) -> None:
        if self._floor is None:
            _, self._head = await self._store.bounds()
            self._floor = self._head
            self._wake()  # what came before that is read by page
        places = await self._news()
        if not self._choices:
            self._forget()
            return
        read = await self._store.events(places, self._is_wanted)
        if self._floor is not None:  # else somebody joined meanwhile, for whom nothing was chosen
            for place, owner, event in read:
                self._keep(_Told(place.cursor, owner, event, event.ByteSize()))
            self._head = places[-1].cursor if places else self._head
        if places:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _news(self) -> list[Place]:
        streams: dict[Any, Any] = {self._keys.feed: to_text(self._head)}
        answer: Any = await self._redis.listener.xread(streams, count=PAGE, block=_BLOCK_MS)
        return to_places(answer[0][1]) if answer else []

    def _is_wanted(self, owner: Owner) -> bool:
        return any(choice.has_owner(owner) for choice in self._choices)

    def _keep(self, told: _Told) -> None:
        self._told.append(told)
        self._told_bytes += told.size_bytes
        while len(self._told) > _KEPT or (self._told_bytes > _KEPT_BYTES and len(self._told) > 1):
            gone = self._told.popleft()
            self._told_bytes -= gone.size_bytes
            self._floor = gone.cursor

    def _forget(self) -> None:
        self._told.clear()
        self._told_bytes = 0
        self._floor = None

    async def watch(
        self, request: task_pb2.WatchEventsRequest
    ) -> AsyncGenerator[task_pb2.WatchEventsResponse, None]:
        """Yield events for ever; one message without an event at once and whenever nothing happens.

        Raises InvalidArgument for a cursor or a kind that is none, Draining when this replica stops (call again elsewhere).
        """
        choice = _Choice(request)
        cursor, gap = await self._begin(request.after_cursor)
        yield task_pb2.WatchEventsResponse(cursor=to_text(cursor), gap=gap)
        self._choices.add(choice)
        self._forget()  # what was kept was chosen without this watcher
        self._watched.set()
        try:
            while not self._draining.is_set():
                changed = self._changed
                batch, cursor, is_behind = await self._after(cursor, choice)
                for told in batch:
                    yield task_pb2.WatchEventsResponse(cursor=to_text(told.cursor), event=told.event)
                if not is_behind and not await self._wait(changed):
                    yield task_pb2.WatchEventsResponse(cursor=to_text(cursor))
        finally:
            self._choices.discard(choice)
            if not self._choices:
                self._watched.clear()
        raise Draining("this scheduler is shutting down; watch again with the last cursor")

    async def _begin(self, text: str) -> tuple[Cursor, bool]:
        """Return where a watcher begins, and whether something before that is lost."""
        asked = to_cursor(text) if text else None
        first, last = await self._store.bounds()
        if asked is None:
            return last, False
        if first is None or asked > last:  # of a store that was rewound, or of events that are all too old
            return last, True
        return (asked, False) if asked >= first else (_before(first), True)

    async def _after(self, cursor: Cursor, choice: _Choice) -> tuple[list[_Told], Cursor, bool]:
        """Return what a watcher is to be told after a cursor, the cursor behind that, and whether it is behind still."""
        if self._floor is not None and self._floor <= cursor:
            found = [
                told
                for told in self._told
                if told.cursor > cursor and choice.has_owner(told.owner) and choice.has_kind(told.event)
            ]
            return found, max(cursor, self._head), False
        places = await self._store.page(cursor)
        read = await self._store.events(places, choice.has_owner)
        found = [
            _Told(place.cursor, owner, event, 0) for place, owner, event in read if choice.has_kind(event)
        ]
        return found, places[-1].cursor if places else cursor, len(places) == PAGE

    async def _wait(self, changed: asyncio.Event) -> bool:
        """Wait for news; False when nothing came for a heartbeat, or this replica drains."""
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._draining.wait())]
        try:
            done, _ = await asyncio.wait(
                waits, timeout=self._heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)


def _before(cursor: Cursor) -> Cursor:
    return (cursor[0], cursor[1] - 1) if cursor[1] else (cursor[0] - 1, 2**32 - 1)
