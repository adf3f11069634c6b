# ruff: noqa: N802 - the contract names the methods
"""TaskService: unpacks a request, calls one part of the scheduler, packs the answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from runtime import VERSION
from runtime.errors import (
    InvalidArgument,
    WrongState,
)
from runtime.logs import get_logger
from runtime.rpc_errors import clip
from scheduler.api.submission import Submission
from scheduler.api.submitting import answers
from yivideo.task.v1 import task_pb2, task_pb2_grpc

if TYPE_CHECKING:
    from scheduler.app import Scheduler

log = get_logger(__name__)

_REASON_BYTES = 500
_MAX_GRACE_SECONDS = 60


class TaskServicer(task_pb2_grpc.TaskServiceServicer):
    """The scheduler's face to its clients."""

    def __init__(self, scheduler: Scheduler, max_message_bytes: int) -> None:
        self._scheduler = scheduler
        self._submission = Submission(scheduler)
        self._max_message_bytes = max_message_bytes

    async def SubmitTask(self, request: task_pb2.SubmitTaskRequest, context: Any) -> task_pb2.Task:
        """Store a task, and wait for its end when that is asked."""
        return await self._submission.submit(request)

    async def SubmitTasks(
        self, requests: AsyncIterator[task_pb2.SubmitTasksRequest], context: Any
    ) -> AsyncIterator[task_pb2.SubmitTasksResponse]:
        """Do what SubmitTask does for every call of a stream."""
        answering = answers(
            self._submission.submit, requests, context, self._scheduler.draining, self._max_message_bytes
        )
        async with aclosing(answering) as responses:
            async for response in responses:
                yield response

    async def RunTask(
        self, request: task_pb2.RunTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Store a task and watch it."""
        task = await self._submission.store(request.spec)
        async with aclosing(self._scheduler.watch.watch(task.spec.task_id, request.after_sequence)) as events:
            async for event in events:
                yield event

    async def WatchTask(
        self, request: task_pb2.WatchTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Stream a task's events."""
        async with aclosing(self._scheduler.watch.watch(request.task_id, request.after_sequence)) as events:
            async for event in events:
                yield event

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
        """Return one task."""
        stored = await self._scheduler.tasks.load(request.task_id)
        task = self._scheduler.view.task(stored)
        if request.with_queue_place and (place := await self._scheduler.places.place(stored.record)):
            task.queue_place.CopyFrom(place)
        return task

    async def WatchEvents(
        self, request: task_pb2.WatchEventsRequest, context: Any
    ) -> AsyncIterator[task_pb2.WatchEventsResponse]:
        """Stream the events of many tasks."""
        async with aclosing(self._scheduler.task_feed.watch(request)) as told:
            async for one in told:
                yield one

    async def ListAttempts(
        self, request: task_pb2.ListAttemptsRequest, context: Any
    ) -> task_pb2.ListAttemptsResponse:
        """Return what became of a task's attempts."""
        record = await self._scheduler.tasks.load_record(request.task_id)
        return task_pb2.ListAttemptsResponse(attempts=await self._scheduler.history.attempts(record))

    async def GetTaskLog(
        self, request: task_pb2.GetTaskLogRequest, context: Any
    ) -> task_pb2.GetTaskLogResponse:
        """Return a page of a task's log."""
        await self._scheduler.tasks.load_record(request.task_id)
        return await self._scheduler.history.log(request)

    async def ListTasks(self, request: task_pb2.ListTasksRequest, context: Any) -> task_pb2.ListTasksResponse:
        """Return a page of tasks."""
        page = await self._scheduler.listing.tasks(request)
        return task_pb2.ListTasksResponse(
            tasks=page.tasks, next_page_token=page.next_page_token, total_count=page.total_count
        )

    async def CancelTask(self, request: task_pb2.CancelTaskRequest, context: Any) -> task_pb2.Task:
        """Stop a task."""
        grace = request.grace_seconds if request.HasField("grace_seconds") else None
        if grace is not None and not 0 <= grace <= _MAX_GRACE_SECONDS:
            raise InvalidArgument.at("/grace_seconds", f"must be 0 to {_MAX_GRACE_SECONDS}")
        await self._scheduler.cancellation.cancel(request.task_id, clip(request.reason, _REASON_BYTES), grace)
        return self._scheduler.view.task(await self._scheduler.tasks.load(request.task_id))

    async def RetryTask(self, request: task_pb2.RetryTaskRequest, context: Any) -> task_pb2.Task:
        """Submit an ended task's payload again under a new id."""
        stored = await self._scheduler.tasks.load(request.task_id)
        if not stored.record.ended:
            raise WrongState(
                f"task {request.task_id!r} is {stored.record.state}; only an ended task can be retried"
            )
        spec = task_pb2.TaskSpec.FromString(stored.spec)
        spec.workflow_id = stored.record.workflow_id  # so that its references find the same stages
        suffix = f"-retry-{uuid.uuid4().hex[:8]}"
        spec.task_id = spec.task_id[: 128 - len(suffix)] + suffix
        spec.all_files = spec.all_files and request.all_files
        for passed in ("start_time", "delay_seconds", "start_deadline"):
            spec.ClearField(passed)
        return await self._submission.store(spec)

    async def DeleteTask(
        self, request: task_pb2.DeleteTaskRequest, context: Any
    ) -> task_pb2.DeleteTaskResponse:
        """Remove a task."""
        return await self._scheduler.deletion.delete(request.task_id, force=request.force)

    async def ListTaskTypes(
        self, request: task_pb2.ListTaskTypesRequest, context: Any
    ) -> task_pb2.ListTaskTypesResponse:
        """Return all task types ever seen."""
        availability = self._scheduler.availability
        answer = task_pb2.ListTaskTypesResponse(task_types=self._scheduler.types.all(request.node))
        for kind in answer.task_types:
            kind.available = availability.is_available(kind.name)
            if seen_ms := availability.last_seen_ms(kind.name):
                kind.last_seen_time.FromMilliseconds(seen_ms)
        return answer

    async def ListDeliveries(
        self, request: task_pb2.ListDeliveriesRequest, context: Any
    ) -> task_pb2.ListDeliveriesResponse:
        """Return the log of a task's callback."""
        await self._scheduler.tasks.load_record(request.task_id)  # there is such a task
        return await self._scheduler.outbox.deliveries(request.task_id)

    async def RedeliverCallback(
        self, request: task_pb2.RedeliverCallbackRequest, context: Any
    ) -> task_pb2.Task:
        """Send a callback again."""
        await self._scheduler.tasks.load_record(request.task_id)
        await self._scheduler.outbox.redeliver(request.task_id)
        self._scheduler.delivery.want()
        return self._scheduler.view.task(await self._scheduler.tasks.load(request.task_id))

    async def PingCallback(self, request: task_pb2.PingCallbackRequest, context: Any) -> task_pb2.Delivery:
        """Try an address."""
        delivery = await self._scheduler.delivery.ping(request.url)
        log.info("address tried", user=request.user, status=delivery.http_status)
        return delivery

    async def ListDeadLetters(
        self, request: task_pb2.ListDeadLettersRequest, context: Any
    ) -> task_pb2.ListDeadLettersResponse:
        """Return a page of dead letters."""
        page = await self._scheduler.listing.dead_letters(request)
        return task_pb2.ListDeadLettersResponse(tasks=page.tasks, next_page_token=page.next_page_token)

    async def ReplayDeadLetter(
        self, request: task_pb2.ReplayDeadLetterRequest, context: Any
    ) -> task_pb2.Task:
        """Let a dead letter run again."""
        await self._scheduler.tasks.replay(request.task_id)
        return self._scheduler.view.task(await self._scheduler.tasks.load(request.task_id))

    async def ListQueues(
        self, request: task_pb2.ListQueuesRequest, context: Any
    ) -> task_pb2.ListQueuesResponse:
        """Describe the queues."""
        report = self._scheduler.queues
        return task_pb2.ListQueuesResponse(
            queues=await report.queues(request.node),
            scheduler_count=await report.scheduler_count(),
            version=VERSION,
        )
