"""How an attempt ends: completed, failed, tried again, cancelled, handed back, or lost with its node."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from runtime.errors import YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import clip
from scheduler import metrics
from scheduler.queue.attempt_store import AttemptStore, Ending
from scheduler.queue.claim import Claim
from scheduler.queue.node_event import NodeEvent
from scheduler.queue.presenter import StoredTask
from scheduler.queue.task_store import TaskStore, cancelled_event, failed_event
from scheduler.queue.task_types import TaskTypeCatalog
from scheduler.run.retry_policy import next_delay_seconds
from scheduler.run.run_times import RunTimes
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)


OnEnd = Callable[[str, StoredTask | None], None]
"""Hears of each task that was ended here, with the task itself where it is at hand."""


class Conclusion:
    """Writes the ends of attempts. Nothing here raises for a stale attempt: its messages simply have no effect."""

    def __init__(
        self,
        attempts: AttemptStore,
        tasks: TaskStore,
        types: TaskTypeCatalog,
        on_end: OnEnd,
        run_times: RunTimes,
    ) -> None:
        self._attempts = attempts
        self._tasks = tasks
        self._types = types
        self._on_end = on_end
        self._run_times = run_times

    async def conclude(
        self,
        claim: Claim,
        event: task_pb2.TaskEvent,
        events: Sequence[NodeEvent],
        ran_seconds: float,
        *,
        deadline_passed: bool,
    ) -> None:
        """Act on a node's last event of an attempt; `events` are those before it that are not stored yet."""
        match event.WhichOneof("event"):
            case "completed":
                await self._complete(claim, event.completed, events)
            case "failed":
                error = event.failed.error
                if deadline_passed and error.code != "DEADLINE_EXCEEDED":
                    await self.fail_deadline(claim, events, event.failed.duration_seconds)
                else:
                    await self.fail(claim, error, events, event.failed.duration_seconds)
            case "cancelled" if deadline_passed:
                await self.fail_deadline(claim, events, event.cancelled.duration_seconds)
            case "cancelled":
                await self._cancel(claim, event.cancelled, events, ran_seconds)
            case "handed_back":
                await self.hand_back(claim, event.handed_back, events, ran_seconds)

    async def _complete(
        self, claim: Claim, completed: task_pb2.TaskCompleted, events: Sequence[NodeEvent]
    ) -> None:
        ending = Ending(
            state="skipped" if completed.skipped else "completed",
            event=task_pb2.TaskEvent(completed=completed),
            duration_seconds=completed.duration_seconds,
            result=completed,
            reusable=self._is_reusable(claim, completed),
        )
        await self._end(claim, ending, events)

    def _is_reusable(self, claim: Claim, completed: task_pb2.TaskCompleted) -> bool:
        """Whether a second submit gets this result: the first YiVideo ran a task again when its first output field was empty."""
        if completed.skipped:
            return True
        kind = self._types.find(claim.record.name)
        fields = completed.output.fields
        if kind is None or not kind.reuse_field:
            return bool(fields)
        value = fields.get(kind.reuse_field)
        if value is None:
            return False
        match value.WhichOneof("kind"):
            case "string_value":
                return bool(value.string_value)
            case "list_value":
                return len(value.list_value.values) > 0
            case "struct_value":
                return len(value.struct_value.fields) > 0
            case "null_value" | None:
                return False
        return True

    async def fail(
        self, claim: Claim, error: task_pb2.TaskError, events: Sequence[NodeEvent], duration_seconds: float
    ) -> None:
        """Fail the attempt: another follows when the task's retry policy says so, else the task has failed."""
        policy = task_pb2.TaskSpec.FromString(claim.spec).retry_policy
        delay = next_delay_seconds(policy, error, claim.record.tries)
        if delay is not None:
            retrying = task_pb2.TaskRetrying(error=error)
            retrying.next_time.FromMilliseconds(int((time.time() + delay) * 1000))
            outcome = await self._attempts.retry_later(
                claim, delay, error, task_pb2.TaskEvent(retrying=retrying), events
            )
            if outcome == "retrying":
                await self._trace_attempt(claim, "failed", error.code)
                log.info("the attempt failed and will be tried again", code=error.code, delay_seconds=delay)
                metrics.run_seconds(claim.record.node, "retried").observe(duration_seconds)
            if outcome != "cancelling":
                return
        failed = task_pb2.TaskFailed(error=error, duration_seconds=duration_seconds)
        ending = Ending("failed", task_pb2.TaskEvent(failed=failed), duration_seconds, error=error)
        await self._end(claim, ending, events)

    async def fail_deadline(self, claim: Claim, events: Sequence[NodeEvent], duration_seconds: float) -> None:
        """Fail the attempt because its timeout passed."""
        error = task_pb2.TaskError(
            code="DEADLINE_EXCEEDED", message="the attempt took longer than its timeout"
        )
        await self.fail(claim, error, events, duration_seconds)

    async def refuse(self, claim: Claim, refusal: YiVideoError, ran_seconds: float) -> None:
        """Fail the task because the node refused it: its input, for example, does not fit what the node knows now."""
        field = refusal.fields[0].pointer.removeprefix("/input") if refusal.fields else ""
        error = task_pb2.TaskError(code=refusal.code, message=clip(refusal.message), field=clip(field, 200))
        await self.fail(claim, error, (), ran_seconds)

    async def _cancel(
        self, claim: Claim, cancelled: task_pb2.TaskCancelled, events: Sequence[NodeEvent], ran_seconds: float
    ) -> None:
        ending = Ending("cancelled", task_pb2.TaskEvent(cancelled=cancelled), cancelled.duration_seconds)
        if await self._end(claim, ending, events) == "unasked":
            # Nobody cancelled it: the node stopped work that it believed nobody watched.
            await self.lose(claim, ran_seconds)

    async def _end(self, claim: Claim, ending: Ending, events: Sequence[NodeEvent]) -> str:
        ended = await self._attempts.end(claim, ending, events)
        outcome = ended.outcome
        self._on_end(claim.record.task_id, ended.task)
        if outcome == "ended":
            metrics.run_seconds(claim.record.node, ending.state).observe(ending.duration_seconds)
            code = ending.error.code if ending.error else ""
            await self._trace_attempt(claim, ending.state, code, is_end=True)
            metrics.count_ended(claim.record.node, ending.state, code)
            self._run_times.note(claim.record.node, ending.duration_seconds)
            log.info("task ended", state=ending.state, attempt=claim.record.attempt)
        elif outcome == "stale":
            log.warning("a stale attempt's end was refused", attempt=claim.record.attempt)
        if ended.must_settle:
            await self._tasks.settle(claim.record.task_id)
        return outcome

    async def hand_back(
        self,
        claim: Claim,
        handed_back: task_pb2.TaskHandedBack | None = None,
        events: Sequence[NodeEvent] = (),
        ran_seconds: float = 0.0,
    ) -> None:
        """Put the task back in its place, uncounted; `handed_back` when a draining node gave up what it had begun."""
        if handed_back is None:
            outcome = await self._attempts.hand_back(claim)
        else:
            error = task_pb2.TaskError(
                code="HANDED_BACK",
                message="the node is shutting down; another attempt follows",
                retryable=True,
            )
            retrying = task_pb2.TaskEvent(retrying=task_pb2.TaskRetrying(error=error))
            checkpoint = handed_back.checkpoint.SerializeToString()
            outcome = await self._attempts.hand_back(
                claim, checkpoint=checkpoint, event=retrying, events=events
            )
        if outcome == "pending":
            await self._trace_attempt(claim, "handed_back", "")
        if outcome == "cancelling":
            cancelled = task_pb2.TaskCancelled(
                reason=claim.record.cancel_reason, duration_seconds=ran_seconds
            )
            ending = Ending("cancelled", task_pb2.TaskEvent(cancelled=cancelled), ran_seconds)
            await self._end(claim, ending, events)

    async def lose(self, claim: Claim, ran_seconds: float, silent_seconds: float = 0.0) -> None:
        """Give the attempt up: its node is gone. `silent_seconds`: of a node that had stood still before; else 0."""
        message = f"the node at {claim.record.address} was lost while it ran attempt {claim.record.attempt}"
        if silent_seconds:
            message += (
                f": it had said nothing for {silent_seconds:.1f} s before, as a node does whose event loop is blocked or whose "
                "process is frozen; such a node is killed after node.frozen_seconds"
            )
        error = task_pb2.TaskError(code="WORKER_LOST", message=message, retryable=True)
        retrying = task_pb2.TaskEvent(retrying=task_pb2.TaskRetrying(error=error)).SerializeToString()
        outcome, must_settle = await self._attempts.lose(
            claim,
            error,
            ran_seconds,
            retrying=retrying,
            failed=failed_event(error, ran_seconds),
            cancelled=cancelled_event("its node was lost while it was being cancelled", ran_seconds),
        )
        if outcome != "stale":
            metrics.ATTEMPTS_LOST.labels(claim.record.node).inc()
            is_end = outcome != "retrying"
            await self._trace_attempt(claim, outcome if is_end else "lost", error.code, is_end=is_end)
        if outcome in ("failed", "cancelled"):
            metrics.count_ended(claim.record.node, outcome, error.code if outcome == "failed" else "")
        self._on_end(claim.record.task_id, None)
        log.warning(
            "attempt lost", attempt=claim.record.attempt, address=claim.record.address, outcome=outcome
        )
        if must_settle:
            await self._tasks.settle(claim.record.task_id)

    async def _trace_attempt(self, claim: Claim, outcome: str, code: str, *, is_end: bool = False) -> None:
        """Tell the span of a concluded attempt and, with its last one, the task's. Nothing is raised: the end is written."""
        trace = claim.trace
        if trace is None:
            return
        before = 0
        # More had happened in this life than its beginning.
        if claim.record.last_sequence > claim.record.first_sequence:
            try:
                before = await self._attempts.fence_before(claim)
            except Exception as error:
                log.warning("what this attempt follows could not be read", error=type(error).__name__)
        trace.tell_attempt(outcome, code, before)
        if is_end:
            trace.tell_task(outcome, code)
