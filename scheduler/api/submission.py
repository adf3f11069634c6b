"""What a submit comes to: the task is stored, and its end waited for where that is asked.

Whether a call waits, for what and how long, is decided here, for SubmitTask and for every call of a SubmitTasks stream; `endings`
only tells those that wait.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from results.states import TERMINAL
from runtime.errors import (
    Draining,
    FieldViolation,
    InvalidArgument,
    InvalidInput,
    NodeUnavailable,
    TaskNotFound,
)
from runtime.logs import get_logger
from scheduler import metrics
from scheduler.queue.admission import AdmittedTask, milliseconds
from scheduler.queue.presenter import StoredTask, to_reuse
from scheduler.queue.record import to_record
from scheduler.queue.task_store import Submitted
from yivideo.task.v1 import task_pb2

if TYPE_CHECKING:
    from scheduler.app import Scheduler

log = get_logger(__name__)

_MAX_WAIT_SECONDS = 600


_Stored = tuple[AdmittedTask, Submitted]


class Submission:
    """Takes submits on behalf of one replica."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def submit(
        self, request: task_pb2.SubmitTaskRequest, stored: Callable[[], None] | None = None
    ) -> task_pb2.Task:
        """Store a task, and wait for its end when that is asked; `stored` is called when it is stored, before a wait begins."""
        if request.wait_seconds:
            return await self._store_and_wait(request, stored)
        return await self._show(
            *await self._store_whole(request.spec, stored, asked_ms=milliseconds(request, "ask_time"))
        )

    async def _store_and_wait(
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

    async def store(self, spec: task_pb2.TaskSpec) -> task_pb2.Task:
        """Store a task and wait for nothing."""
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
        metrics.tasks_submitted(admitted.node, submitted.outcome).inc()
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
        reason = scheduler.view.nobody_offers(spec.task_name, admitted.node)
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
