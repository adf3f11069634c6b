"""WatchTask: a task's history from a sequence on, then its future until it ends, with every gap said aloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from results.states import TERMINAL, is_terminal
from runtime.errors import InvalidArgument, TaskNotFound
from scheduler.api.event_feed import EventFeed, StoreRewound, TaskErased
from scheduler.api.task_view import TaskView
from scheduler.api.until_draining import until_draining
from scheduler.queue.record import TaskRecord
from scheduler.queue.task_store import TaskStore
from yivideo.task.v1 import task_pb2


class TaskWatch:
    """Watches tasks on behalf of clients."""

    def __init__(
        self,
        tasks: TaskStore,
        feed: EventFeed,
        view: TaskView,
        draining: asyncio.Event,
        *,
        heartbeat_seconds: float,
    ) -> None:
        self._tasks = tasks
        self._feed = feed
        self._view = view
        self._draining = draining
        self._heartbeat_seconds = heartbeat_seconds

    async def watch(self, task_id: str, after: int) -> AsyncGenerator[task_pb2.TaskEvent, None]:
        """Yield events until the terminal one; a heartbeat when nothing happens, a gap where events are no longer kept.

        Raises TaskNotFound; InvalidArgument; Draining when this replica stops (call again elsewhere with the last sequence).
        """
        if after < 0:
            raise InvalidArgument.at("/after_sequence", "must not be negative")
        cursor: int | None = after
        while cursor is not None:
            try:
                async with aclosing(self._watch_on(task_id, cursor)) as events:
                    async for event in events:
                        yield event
                return
            except StoreRewound:
                gap = await self._gap(task_id, 0, 0)
                yield gap
                snapshot = gap.gap.snapshot
                cursor = None if snapshot.state in TERMINAL else snapshot.last_sequence

    async def _watch_on(self, task_id: str, after: int) -> AsyncGenerator[task_pb2.TaskEvent, None]:
        record = await self._tasks.load_record(task_id)
        cursor, ended = after, record.ended
        if cursor > record.last_sequence:
            # A sequence that never was: from a rewound store, or of another task. It goes on behind what the picture shows.
            raise StoreRewound
        if cursor < record.first_sequence - 1:  # an earlier life of a task that ran again
            yield await self._gap(task_id, cursor + 1, record.first_sequence - 1)
            cursor = record.first_sequence - 1
        if ended and cursor >= record.last_sequence:
            return
        async with aclosing(self._follow(record, cursor)) as events:
            async for event in events:
                yield event

    async def _follow(self, record: TaskRecord, cursor: int) -> AsyncGenerator[task_pb2.TaskEvent, None]:
        task_id = record.task_id
        feed = self._feed.follow(task_id, cursor, quiet_seconds=self._heartbeat_seconds)
        try:
            async with aclosing(until_draining(feed, self._draining)) as following:
                async for event in following:
                    if event is None:
                        beat = task_pb2.TaskEvent(task_id=task_id, heartbeat=task_pb2.Heartbeat())
                        beat.time.GetCurrentTime()
                        yield beat
                        continue
                    if event.sequence > cursor + 1:
                        yield await self._gap(task_id, cursor + 1, event.sequence - 1)
                    cursor = event.sequence
                    yield event
                    if is_terminal(event):
                        return
        except TaskErased:
            raise TaskNotFound(f"task {task_id!r} was deleted") from None

    async def _gap(self, task_id: str, first: int, last: int) -> task_pb2.TaskEvent:
        gap = task_pb2.EventGap(
            first_missing_sequence=first,
            last_missing_sequence=last,
            snapshot=self._view.task(await self._tasks.load(task_id)),
        )
        event = task_pb2.TaskEvent(task_id=task_id, gap=gap)
        event.time.GetCurrentTime()
        return event
