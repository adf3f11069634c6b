"""WatchWorkflow: a workflow's history from a sequence on, then its future until it has ended, with every gap said aloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from runtime.errors import InvalidArgument, WorkflowNotFound
from scheduler.api.event_feed import EventFeed, StoredEvent, StoreRewound, TaskErased
from scheduler.api.until_draining import until_draining
from scheduler.queue.keys import workflow_record
from scheduler.queue.workflow_presenter import to_workflow, to_workflow_event
from scheduler.queue.workflow_store import WorkflowStore
from yivideo.task.v1 import task_pb2, workflow_pb2


class WorkflowWatch:
    """Watches workflows on behalf of clients."""

    def __init__(
        self, workflows: WorkflowStore, feed: EventFeed, draining: asyncio.Event, *, heartbeat_seconds: float
    ) -> None:
        self._workflows = workflows
        self._feed = feed
        self._draining = draining
        self._heartbeat_seconds = heartbeat_seconds

    async def watch(self, workflow_id: str, after: int) -> AsyncGenerator[workflow_pb2.WorkflowEvent, None]:
        """Yield events until the workflow has ended; a heartbeat when nothing happens, a gap where events are no longer kept.

        Raises WorkflowNotFound; InvalidArgument; Draining when this replica stops (call again elsewhere with the last sequence).
        """
        if after < 0:
            raise InvalidArgument.at("/after_sequence", "must not be negative")
        cursor, is_over = after, False
        while not is_over:
            try:
                async with aclosing(self._watch_on(workflow_id, cursor)) as events:
                    async for event in events:
                        yield event
                return
            except StoreRewound:
                gap = await self._gap(workflow_id, 0, 0)
                yield gap
                cursor = gap.gap.snapshot.last_sequence
                is_over = await self._over(workflow_id, cursor)

    async def _watch_on(
        self, workflow_id: str, cursor: int
    ) -> AsyncGenerator[workflow_pb2.WorkflowEvent, None]:
        record = await self._workflows.load_record(workflow_id)
        if cursor > record.last_sequence:  # a sequence that never was, or that the store has forgotten
            raise StoreRewound
        if await self._over(workflow_id, cursor):
            return
        async with aclosing(self._follow(workflow_id, cursor)) as events:
            async for event in events:
                yield event

    async def _over(self, workflow_id: str, cursor: int) -> bool:
        """Whether the workflow has ended, and nothing follows."""
        record = await self._workflows.load_record(workflow_id)
        return record.ended and cursor >= record.last_sequence

    async def _follow(
        self, workflow_id: str, cursor: int
    ) -> AsyncGenerator[workflow_pb2.WorkflowEvent, None]:
        feed = self._feed.follow_stored(
            workflow_record(workflow_id), cursor, quiet_seconds=self._heartbeat_seconds
        )
        try:
            async with aclosing(until_draining(feed, self._draining)) as following:
                async for stored in following:
                    if stored is None:
                        beat = workflow_pb2.WorkflowEvent(
                            workflow_id=workflow_id, heartbeat=task_pb2.Heartbeat()
                        )
                        beat.time.GetCurrentTime()
                        yield beat
                        continue
                    if stored[0] > cursor + 1:
                        yield await self._gap(workflow_id, cursor + 1, stored[0] - 1)
                    cursor = stored[0]
                    event = await self._complete(workflow_id, stored)
                    yield event
                    if event.HasField("ended") and await self._over(workflow_id, cursor):
                        return
        except TaskErased:
            raise WorkflowNotFound(f"workflow {workflow_id!r} was deleted") from None

    async def _complete(self, workflow_id: str, stored: StoredEvent) -> workflow_pb2.WorkflowEvent:
        sequence, attempt, time_ms, detached, body = stored
        event = to_workflow_event(workflow_id, sequence, attempt, time_ms, body)
        if detached:
            await self._feed.attach_result(event.task_event)
        return event

    async def _gap(self, workflow_id: str, first: int, last: int) -> workflow_pb2.WorkflowEvent:
        gap = workflow_pb2.WorkflowGap(
            first_missing_sequence=first,
            last_missing_sequence=last,
            snapshot=to_workflow(await self._workflows.load(workflow_id, brief=True), brief=True),
        )
        event = workflow_pb2.WorkflowEvent(workflow_id=workflow_id, gap=gap)
        event.time.GetCurrentTime()
        return event
