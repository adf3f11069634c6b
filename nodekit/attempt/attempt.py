"""One attempt at a task: its life, its events, its watchers, and every way in which it is stopped.

It is over, and says so, only when nothing that it started is left. What became of it is told by exactly one terminal event:

    the function returned            completed
    the function raised              failed
    Stop.CANCEL                      cancelled
    Stop.DEADLINE                    failed, DEADLINE_EXCEEDED
    Stop.DRAIN, Stop.ORPHANED        handed_back, with the checkpoint: another attempt shall go on
    Stop.SUPERSEDED                  none: its watchers get StaleFence
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable

from nodekit.attempt.assignment import Assignment
from nodekit.attempt.event_log import EventLog
from nodekit.attempt.execution import Execution, Workshop
from nodekit.attempt.task_record import TaskRecord
from nodekit.attempt.watch import Watch
from nodekit.failure import is_expected, to_task_error
from nodekit.metrics import ATTEMPTS, RUN_SECONDS, WATCHERS
from runtime import context as ids
from runtime import spans
from runtime.errors import DeadlineExceeded, StaleFence, Unavailable, WrongState
from runtime.logs import get_logger
from runtime.rpc_errors import clip
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_RECANCEL_SECONDS = 1.0
_MAX_REASON_BYTES = 500


class Stop(enum.Enum):
    """Why an attempt was stopped from outside."""

    CANCEL = "cancelled"
    DEADLINE = "deadline passed"
    ORPHANED = "nobody watches"
    SUPERSEDED = "a newer attempt is here"
    DRAIN = "the node is draining"


class Attempt:
    """One attempt. Everything is called from the event loop; nothing but `wait_ended` waits."""

    def __init__(
        self, assignment: Assignment, workshop: Workshop, number: int, on_change: Callable[[Attempt], None]
    ) -> None:
        self.assignment = assignment
        self._settings = workshop.settings
        self.heartbeat_seconds = workshop.settings.heartbeat_seconds
        self._on_change = on_change
        self.events = EventLog(assignment.spec.task_id, assignment.attempt, self._settings.max_events)
        self._execution = Execution(assignment, workshop, number, self.events.append)
        self._task: asyncio.Task[None] | None = None
        self._stop: Stop | None = None
        self._over = asyncio.Event()
        """Set when the function has ended, or shall."""
        self._reason = ""
        self._watchers = 0
        self._orphan_timer: asyncio.TimerHandle | None = None
        self._record = TaskRecord(assignment, workshop.replica, self.events)
        self._workshop = workshop
        self._span: spans.Span | None = None
        self.read = False
        """Whether a watcher was given the terminal event."""
        self.draining = False
        """Whether its replica drains: it may finish, and what goes away with the replica is no failure of its own."""

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.assignment.spec.task_id

    @property
    def ended(self) -> bool:
        """Whether its terminal event is there, and so nothing of it is left."""
        return self.events.ended

    def start(self, predecessor: Attempt | None) -> None:
        """Begin to run, once the predecessor (an older attempt at the same task) is gone."""
        self._task = asyncio.create_task(self._live(predecessor), name=f"attempt {self.task_id}")
        self._mind_orphan()

    async def wait_ended(self) -> None:
        """Wait until nothing of the attempt is left."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _live(self, predecessor: Attempt | None) -> None:
        spec = self.assignment.spec
        ids.task_id.set(spec.task_id)
        if spec.traceparent:
            ids.traceparent.set(ids.accepted_traceparent(spec.traceparent))
            ids.tracestate.set(ids.accepted_tracestate(spec.tracestate, spec.traceparent))
        self._span = spans.begin(
            f"run {spec.task_name}",
            spans.Kind.SERVER,
            task_id=spec.task_id,
            task_name=spec.task_name,
            attempt=self.assignment.attempt,
            replica=self._workshop.replica,
        )
        if self._span is not None:
            ids.traceparent.set(self._span.traceparent)
        if predecessor is not None:
            predecessor.stop(Stop.SUPERSEDED)
            await predecessor.wait_ended()
        started = time.monotonic()
        if self._stop is None:
            self._record.started()
            begun = task_pb2.TaskStarted(node=self._workshop.node, replica=self._workshop.replica)
            self.events.append(task_pb2.TaskEvent(started=begun))
        log.info("attempt started", task_name=spec.task_name, attempt=self.assignment.attempt)
        terminal = await self._outcome(started)
        self._end(terminal, time.monotonic() - started)

    async def _outcome(self, started: float) -> task_pb2.TaskEvent:
        """Run the function to its end or its stop, clear up, and return the terminal event."""
        result: task_pb2.TaskCompleted | BaseException
        try:
            result = await self._run()
        except (Exception, asyncio.CancelledError) as error:
            result = error
        kept = isinstance(result, task_pb2.TaskCompleted) and self._stop not in (Stop.CANCEL, Stop.SUPERSEDED)
        try:
            await self._execution.clear(keep_outputs=kept)
        except Exception as error:
            log.error("attempt not cleared up", exc_info=error)
        if kept:
            assert isinstance(result, task_pb2.TaskCompleted)
            return task_pb2.TaskEvent(completed=result)
        return self._unfinished(result)

    async def _run(self) -> task_pb2.TaskCompleted:
        if self._stop is not None:  # while it waited for its predecessor
            raise asyncio.CancelledError
        work = asyncio.create_task(self._execution.run())
        work.add_done_callback(lambda _: self._over.set())
        deadline = asyncio.get_running_loop().call_later(
            self.assignment.timeout_seconds, self.stop, Stop.DEADLINE
        )
        try:
            await self._over.wait()
            while not work.done():
                # A task function that swallows its cancellation is cancelled again: it must not outlive its stop.
                work.cancel()
                await asyncio.wait([work], timeout=_RECANCEL_SECONDS)
        finally:
            deadline.cancel()
        return work.result()

    def _unfinished(self, result: object) -> task_pb2.TaskEvent:
        match self._stop:
            case Stop.CANCEL:
                return task_pb2.TaskEvent(cancelled=task_pb2.TaskCancelled(reason=self._reason))
            case Stop.DEADLINE:
                seconds = self.assignment.timeout_seconds
                result = DeadlineExceeded(f"the task took longer than {seconds} s")
            case Stop.DRAIN | Stop.ORPHANED | Stop.SUPERSEDED:
                return self._handed_back()
        assert isinstance(result, BaseException)
        if self.draining and isinstance(result, Unavailable):
            # Where a whole installation ends at once the store may be gone before the work is: that is done again elsewhere.
            return self._handed_back()
        if not is_expected(result):
            log.error("task function failed", task_name=self.assignment.spec.task_name, exc_info=result)
        return task_pb2.TaskEvent(failed=task_pb2.TaskFailed(error=to_task_error(result)))

    def _handed_back(self) -> task_pb2.TaskEvent:
        back = task_pb2.TaskHandedBack()
        if self._execution.checkpoint is not None:
            back.checkpoint.CopyFrom(to_struct(self._execution.checkpoint))
        return task_pb2.TaskEvent(handed_back=back)

    def _end(self, terminal: task_pb2.TaskEvent, seconds: float) -> None:
        kind = terminal.WhichOneof("event") or ""
        if kind in ("completed", "failed", "cancelled"):
            getattr(terminal, kind).duration_seconds = round(seconds, 6)
        self._record.ended(terminal, seconds)
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
        self.events.append(terminal)
        name = self.assignment.definition.name
        RUN_SECONDS.labels(name).observe(seconds)
        ATTEMPTS.labels(name, kind).inc()
        code = terminal.failed.error.code if kind == "failed" else ""
        if self._span is not None:
            self._span.attributes["yivideo.outcome"] = kind
            self._span.end(code)
        log.info(
            "attempt ended",
            outcome=kind,
            code=code,
            stop=self._stop and self._stop.value,
            seconds=round(seconds, 3),
        )
        self._on_change(self)

    def stop(self, why: Stop, reason: str = "", grace_seconds: float | None = None) -> None:
        """Stop the attempt; the first reason counts, but a newer attempt overrules all."""
        if self.ended or (self._stop is not None and why is not Stop.SUPERSEDED):
            return
        self._stop = why
        self._reason = clip(reason, _MAX_REASON_BYTES)
        if grace_seconds is not None:
            self._execution.set_grace(grace_seconds)
        if why is Stop.CANCEL:
            self._record.cancelling()
            self.events.append(task_pb2.TaskEvent(cancelling=task_pb2.TaskCancelling(reason=self._reason)))
        log.info("attempt is stopped", why=why.value, reason=self._reason)
        self._over.set()
        self.events.wake()

    def cancel(self, reason: str, grace_seconds: float | None) -> None:
        """Stop on request. Raises WrongState when it has ended or is being stopped already."""
        if self.ended:
            raise WrongState(f"the task {self.task_id} has ended")
        if self._stop is not None:
            raise WrongState(f"the task {self.task_id} is being stopped already: {self._stop.value}")
        self.stop(Stop.CANCEL, reason, grace_seconds)

    def attach(self) -> Watch:
        """Register a watcher; release it when it goes."""
        return Watch(self)

    def count_watchers(self, change: int) -> None:
        """Watchers have come, or gone."""
        self._watchers += change
        WATCHERS.inc(change)
        self._mind_orphan()

    def _mind_orphan(self) -> None:
        if self._orphan_timer is not None:
            self._orphan_timer.cancel()
            self._orphan_timer = None
        if self._watchers == 0 and not self.ended:
            loop = asyncio.get_running_loop()
            self._orphan_timer = loop.call_later(self._settings.orphan_seconds, self.stop, Stop.ORPHANED)

    def check(self) -> None:
        """Raise StaleFence when a newer attempt takes over."""
        if self._stop is Stop.SUPERSEDED:
            raise StaleFence(f"a newer attempt at the task {self.task_id} is here")

    def note_read(self) -> None:
        """A watcher has the terminal event."""
        if not self.read:
            self.read = True
            self._on_change(self)

    def to_proto(self) -> task_pb2.Task:
        """Describe the task as GetTask answers it."""
        return self._record.to_proto()

    def to_running(self) -> task_pb2.RunningAttempt:
        """Describe the attempt as WatchNode lists it."""
        assignment = self.assignment
        return task_pb2.RunningAttempt(
            task_id=self.task_id, attempt=assignment.attempt, fence=assignment.fence, ended=self.ended
        )
