# ruff: noqa: N802 - the contract names the methods
"""TaskService: unpacks a request, calls one part of the scheduler, packs the answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from results.states import TERMINAL
from runtime.errors import (
    Draining,
    FieldViolation,
    InvalidArgument,
    InvalidInput,
    NodeUnavailable,
    TaskNotFound,
    WrongState,
)
from runtime.logs import get_logger
from runtime.rpc_errors import clip
from scheduler import metrics
from scheduler.api.submitting import answers
from scheduler.api.task_view import nobody_offers
from scheduler.queue.admission import AdmittedTask, milliseconds
from scheduler.queue.presenter import CALLBACK_STATES, StoredTask, from_milliseconds, to_reuse
from scheduler.queue.record import to_record
from scheduler.queue.task_store import Submitted
from yivideo.task.v1 import task_pb2, task_pb2_grpc

if TYPE_CHECKING:
    from scheduler.app import Scheduler

log = get_logger(__name__)

_REASON_BYTES = 500
_MAX_GRACE_SECONDS = 60
_MAX_WAIT_SECONDS = 600


_Stored = tuple[AdmittedTask, Submitted]


class TaskServicer(task_pb2_grpc.TaskServiceServicer):
    """The scheduler's face to its clients."""

    def __init__(self, scheduler: Scheduler, max_message_bytes: int) -> None:
        self._scheduler = scheduler
        self._max_message_bytes = max_message_bytes

    async def SubmitTask(self, request: task_pb2.SubmitTaskRequest, context: Any) -> task_pb2.Task:
        """Store a task, and wait for its end when that is asked."""
        return await self._answer(request)

    async def SubmitTasks(
        self, requests: AsyncIterator[task_pb2.SubmitTasksRequest], context: Any
    ) -> AsyncIterator[task_pb2.SubmitTasksResponse]:
        """Do what SubmitTask does for every call of a stream."""
        answering = answers(
            self._answer, requests, context, self._scheduler.draining, self._max_message_bytes
        )
        async with aclosing(answering) as responses:
            async for response in responses:
                yield response

    async def _answer(
        self, request: task_pb2.SubmitTaskRequest, stored: Callable[[], None] | None = None
    ) -> task_pb2.Task:
        if request.wait_seconds:
            return await self._submit_and_wait(request, stored)
        return await self._show(
            *await self._store_whole(request.spec, stored, asked_ms=milliseconds(request, "ask_time"))
        )

    async def _submit_and_wait(
        self, request: task_pb2.SubmitTaskRequest, stored: Callable[[], None] | None
    ) -> task_pb2.Task:
        if not 0 < request.wait_seconds <= _MAX_WAIT_SECONDS:
            raise InvalidArgument.at("/wait_seconds", f"must be 0 to {_MAX_WAIT_SECONDS}")
        spec = request.spec
        spec.task_id = spec.task_id or f"task-{uuid.uuid4()}"
        with self._scheduler.endings.expecting(spec.task_id) as expected:
            admitted, submitted = await self._store_whole(
                spec, stored, awaited=True, asked_ms=milliseconds(request, "ask_time")
            )
            if stored is not None:
                stored()
            if submitted.outcome == "created":
                return self._scheduler.view.task(await expected.wait(request.wait_seconds))
            task = await self._show(admitted, submitted)
            if task.state in TERMINAL:
                return task
            if not task.HasField("reuse"):
                return self._scheduler.view.task(await expected.wait(request.wait_seconds))
            await self._watch_end(task, request.wait_seconds)
            later = self._scheduler.view.task(await self._scheduler.tasks.load(spec.task_id))
            later.reuse.CopyFrom(task.reuse)
            return later

    async def _watch_end(self, task: task_pb2.Task, seconds: float) -> None:
        """Wait for the end of a task that was there before: nobody was told then that its end is waited for."""
        with suppress(TimeoutError, Draining, TaskNotFound):
            async with (
                asyncio.timeout(seconds),
                aclosing(self._scheduler.watch.watch(task.spec.task_id, task.last_sequence)) as events,
            ):
                async for _ in events:
                    pass

    async def _submit(self, spec: task_pb2.TaskSpec) -> task_pb2.Task:
        return await self._show(*await self._store_whole(spec))

    async def _store_whole(
        self,
        spec: task_pb2.TaskSpec,
        stored: Callable[[], None] | None = None,
        *,
        awaited: bool = False,
        asked_ms: int = 0,
    ) -> _Stored:
        """Store a task; what was claimed with it is started. Neither is broken off when the client leaves meanwhile.

        Who has himself told when it is stored (`stored`) does not cancel before.
        """
        storing = self._store(spec, awaited, asked_ms)
        return await (asyncio.shield(storing) if stored is None else storing)

    async def _store(self, spec: task_pb2.TaskSpec, awaited: bool, asked_ms: int) -> _Stored:
        scheduler = self._scheduler
        if scheduler.draining.is_set():
            raise Draining("this scheduler is shutting down")
        admitted = await scheduler.admission.admit(spec, asked_ms)
        await self._require_available(admitted)
        await self._look_for_inputs(admitted)
        submitted = await scheduler.dispatcher.submit(admitted, awaited=awaited)
        metrics.TASKS_SUBMITTED.labels(admitted.node, submitted.outcome).inc()
        return admitted, submitted

    async def _look_for_inputs(self, admitted: AdmittedTask) -> None:
        """Refuse a new task whose files are not there for its user; the same request made again finds its task all the same."""
        scheduler, spec = self._scheduler, admitted.spec
        kind = scheduler.types.find(spec.task_name)
        wanted = (
            scheduler.input_files.wanted(spec, kind.input_schema) if kind and not admitted.sources else []
        )
        if wanted:
            try:
                await scheduler.input_files.check(spec, wanted)
            except InvalidInput:
                with suppress(TaskNotFound):
                    await scheduler.tasks.load_record(spec.task_id)
                    return
                raise

    async def _require_available(self, admitted: AdmittedTask) -> None:
        """Refuse what nobody runs, where the client or else the installation says so; not a task that is there already."""
        spec, scheduler = admitted.spec, self._scheduler
        wish = spec.when_unavailable
        if not wish:
            wish = (
                task_pb2.WHEN_UNAVAILABLE_REFUSE
                if scheduler.refuse_unavailable
                else task_pb2.WHEN_UNAVAILABLE_WAIT
            )
        if wish != task_pb2.WHEN_UNAVAILABLE_REFUSE:
            return
        reason = nobody_offers(scheduler.availability, spec.task_name, admitted.node)
        if reason and not await scheduler.tasks.exists(spec.task_id):
            raise NodeUnavailable(reason, fields=[FieldViolation("/task_name", reason)])

    async def _show(self, admitted: AdmittedTask, submitted: Submitted) -> task_pb2.Task:
        """Return a task that was submitted as it is now; a new one without reading it back."""
        scheduler, task_id = self._scheduler, admitted.spec.task_id
        if submitted.outcome == "created":
            return scheduler.view.task(created_task(admitted.spec, submitted.state, submitted.created_us))
        stored = await scheduler.tasks.load(task_id)
        task = self._scheduler.view.task(stored)
        if submitted.outcome == "existing":
            task.reuse.CopyFrom(to_reuse(stored.record))
            if stored.record.ended and stored.record.callback_url:
                # The first YiVideo calls back on a hit as well; receivers know a repetition by its webhook-id.
                await scheduler.outbox.redeliver(task_id, unless_due=True)
        return task

    async def RunTask(
        self, request: task_pb2.RunTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Store a task and watch it."""
        task = await self._submit(request.spec)
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
        for passed in ("start_time", "delay_seconds", "start_deadline"):
            spec.ClearField(passed)
        return await self._submit(spec)

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
        # In this order the status is never older than the deliveries shown beside it.
        deliveries = await self._scheduler.outbox.deliveries(request.task_id)
        record = await self._scheduler.tasks.load_record(request.task_id)
        answer = task_pb2.ListDeliveriesResponse(
            deliveries=deliveries, status=CALLBACK_STATES[record.callback_state]
        )
        if record.callback_state == "pending" and record.callback_next_ms:
            answer.next_time.CopyFrom(from_milliseconds(record.callback_next_ms))
        return answer

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
        return task_pb2.ListQueuesResponse(queues=await self._scheduler.queues.queues(request.node))


def created_task(spec: task_pb2.TaskSpec, state: str, created_us: int) -> StoredTask:
    """Return a task that was stored this moment, without reading it back."""
    fields = {
        "state": state, "name": spec.task_name, "node": spec.task_name.partition(".")[0],
        "user": spec.user, "created": str(created_us),
        "updated": str(created_us // 1000), "seq": "1", "first_seq": "1",
        "not_before": str(_not_before_ms(spec, created_us // 1000)),
        "ready_at": str(created_us // 1000),
    }  # fmt: skip
    record = to_record(spec.task_id, {key.encode(): value.encode() for key, value in fields.items()})
    return StoredTask(record, spec.SerializeToString())


def _not_before_ms(spec: task_pb2.TaskSpec, created_ms: int) -> int:
    if spec.delay_seconds:
        return created_ms + round(spec.delay_seconds * 1000)
    return spec.start_time.ToMilliseconds() if spec.HasField("start_time") else 0
