"""Event streams to any number of watchers over one Redis connection.

Scripts append each event to the task's stream and tell it on the task's channel. The channel only saves reading: what a
watcher gets is decided by its cursor in the stream. It follows the channel while what comes is the next sequence, and reads
the stream whenever it is not: at the start, after a reconnect, when its buffer ran over. So a lost message, a slow client or a
restarted Redis never costs an event, and 1,000 watchers cost one connection and, while they keep up, no reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from runtime.backoff import Backoff
from runtime.logs import get_logger
from runtime.seldom import Seldom
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import to_event
from scheduler.queue.redis_link import TRANSIENT_ERRORS, RedisLink
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)
seldom = Seldom(log)

_PAGE = 128
_BUFFER_BYTES = 256 * 1024
"""Past this a watcher that does not take what it is sent reads the store again, whatever `buffer_events` says."""
_CONFIRM_SECONDS = 1.0
_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 1.0

StoredEvent = tuple[int, int, int, bool, bytes]
"""Sequence, attempt, Unix milliseconds, whether the result lies in the task's result key, serialised TaskEvent."""


class TaskErased(Exception):
    """The watched task's record was removed."""


class StoreRewound(Exception):
    """The store has forgotten events that were told, in a failover: what follows continues an earlier state."""


class _Watcher:
    """One reader's place: what was told since it last looked, up to a bound."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffered_bytes = 0
        self.buffered: deque[StoredEvent] = deque()
        self.must_read = False
        self.erased = False
        self.changed = asyncio.Event()

    def put(self, event: StoredEvent) -> None:
        if self.must_read:
            return
        if self.buffered and (len(self.buffered) >= self._limit or self._buffered_bytes >= _BUFFER_BYTES):
            self.reread()
            return
        self.buffered.append(event)
        self._buffered_bytes += len(event[4])
        self.changed.set()

    def take(self) -> StoredEvent:
        event = self.buffered.popleft()
        self._buffered_bytes -= len(event[4])
        return event

    def reread(self) -> None:
        self.forget()
        self.must_read = True
        self.changed.set()

    def forget(self) -> None:
        self.buffered.clear()
        self._buffered_bytes = 0

    def erase(self) -> None:
        self.erased = True
        self.changed.set()


class EventFeed:
    """All watchers of one process, and its subscription to wake-ups."""

    def __init__(
        self, redis: RedisLink, keys: Keys, *, buffer_events: int, on_wake: Callable[[str], None]
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._buffer_events = buffer_events
        self._on_wake = on_wake
        self._watchers: dict[str, set[_Watcher]] = {}
        self._pubsub: PubSub | None = None
        self._channels = asyncio.Lock()

    @property
    def watcher_count(self) -> int:
        """Watchers of all tasks."""
        return sum(len(group) for group in self._watchers.values())

    async def run(self) -> None:
        """Listen for ever, through every reconnect."""
        backoff = Backoff(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        while True:
            pubsub = self._redis.listener.pubsub()
            try:
                async with self._channels:
                    await pubsub.subscribe(self._keys.wake_channel, *self._watchers)
                    self._pubsub = pubsub
                backoff.reset()
                self._on_wake("all")  # whatever was told while nobody listened
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=False, timeout=None)
                    if message is not None:
                        self._take(message)
            except (*TRANSIENT_ERRORS, RedisError) as error:
                seldom.warning("the event channel broke; listening again", error=type(error).__name__)
            finally:
                self._pubsub = None
                with suppress(*TRANSIENT_ERRORS, RedisError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await backoff.pause()

    def _take(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        if message["type"] == "message" and channel == self._keys.wake_channel:
            self._on_wake(message["data"].decode())
            return
        watchers = self._watchers.get(channel, ())
        if message["type"] == "subscribe":
            for watcher in watchers:
                watcher.reread()
        elif message["type"] == "message":
            if not message["data"]:
                for watcher in watchers:
                    watcher.erase()
                return
            sequence, attempt, time_ms, detached, body = message["data"].split(b" ", 4)
            event = (int(sequence), int(attempt), int(time_ms), detached == b"1", body)
            for watcher in watchers:
                watcher.put(event)

    async def follow(
        self, task_id: str, after: int, *, quiet_seconds: float
    ) -> AsyncGenerator[task_pb2.TaskEvent | None, None]:
        """Yield the task's events after a sequence, for ever; None when nothing happened for `quiet_seconds`.

        A jump in the sequence means that the events between are no longer kept. Raises TaskErased when the record goes,
        StoreRewound when what was told last is not in the store any more.
        """
        async with aclosing(self.follow_stored(task_id, after, quiet_seconds=quiet_seconds)) as stored:
            async for one in stored:
                yield None if one is None else await self._complete(task_id, one)

    async def follow_stored(
        self, task_id: str, after: int, *, quiet_seconds: float
    ) -> AsyncGenerator[StoredEvent | None, None]:
        """Do what `follow` does for any record that has events, a workflow's too; gives them as they are stored."""
        channel = self._keys.events_channel(task_id)
        watcher = _Watcher(self._buffer_events)
        told: StoredEvent | None = None
        await self._join(channel, watcher)
        try:
            while True:
                if watcher.must_read:
                    watcher.must_read = False
                    watcher.forget()
                    page = await self._page(task_id, after, told)
                    if len(page) == _PAGE:
                        watcher.must_read = True
                    for event in page:
                        yield event
                        after, told = event[0], event
                    continue
                while watcher.buffered and not watcher.must_read:
                    event = watcher.take()
                    if event[0] > after + 1:
                        watcher.must_read = True
                    elif event[0] == after + 1:
                        yield event
                        after, told = event[0], event
                if watcher.buffered or watcher.must_read:
                    continue
                if watcher.erased:
                    raise TaskErased
                if not await _changes(watcher, quiet_seconds):
                    yield None
        finally:
            await self._leave(channel, watcher)

    async def _join(self, channel: str, watcher: _Watcher) -> None:
        async with self._channels:
            group = self._watchers.setdefault(channel, set())
            group.add(watcher)
            if len(group) > 1:
                watcher.reread()
                return
            if self._pubsub is not None:
                with suppress(*TRANSIENT_ERRORS):  # run() notices too, and subscribes to everything again
                    await self._pubsub.subscribe(channel)
        if not await _changes(watcher, _CONFIRM_SECONDS):
            watcher.reread()

    async def _leave(self, channel: str, watcher: _Watcher) -> None:
        async with self._channels:
            group = self._watchers[channel]
            group.discard(watcher)
            if group:
                return
            del self._watchers[channel]
            if self._pubsub is not None:
                with suppress(*TRANSIENT_ERRORS, RedisError):
                    await self._pubsub.unsubscribe(channel)

    async def _page(self, task_id: str, after: int, told: StoredEvent | None) -> list[StoredEvent]:
        """Return events after a sequence; `told`: the last that the watcher was told, which must be there unless it was trimmed."""
        key = self._keys.task(task_id, "ev")
        if told is None:
            (entries,) = await self._redis.read(lambda pipe: pipe.xrange(key, min=f"({after}-0", count=_PAGE))
            return _to_events(entries)

        def reads(pipe: Any) -> None:
            pipe.xrange(key, min=f"{after}-0", count=_PAGE + 1)
            pipe.xrevrange(key, count=1)

        entries, newest = await self._redis.read(reads)
        page = _to_events(entries)
        is_behind = bool(newest) and _to_events(newest)[0][0] < after
        if is_behind or (page and page[0][0] == after and page[0][:3] != told[:3]):
            raise StoreRewound
        # Where what was told is trimmed already, one more has come than a page holds; a full page says that there is more.
        return [event for event in page if event[0] > after][:_PAGE]

    async def _complete(self, task_id: str, stored: StoredEvent) -> task_pb2.TaskEvent:
        sequence, attempt, time_ms, detached, body = stored
        event = to_event(task_id, sequence, attempt, time_ms, body)
        if detached:
            await self.attach_result(event)
        return event

    async def attach_result(self, event: task_pb2.TaskEvent) -> None:
        """Put a large result into the event that ended its task."""
        key = self._keys.task(event.task_id, "result")
        (result,) = await self._redis.read(lambda pipe: pipe.get(key))
        if result:
            event.completed.ParseFromString(result)


def _to_events(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[StoredEvent]:
    return [
        (int(entry_id.split(b"-")[0]), int(fields[b"a"]), int(fields[b"t"]), fields[b"d"] == b"1", fields[b"e"])
        for entry_id, fields in entries
    ]  # fmt: skip


async def _changes(watcher: _Watcher, seconds: float) -> bool:
    """Wait until something was told; False when nothing was in time."""
    try:
        async with asyncio.timeout(seconds):
            await watcher.changed.wait()
    except TimeoutError:
        return False
    watcher.changed.clear()
    return True
