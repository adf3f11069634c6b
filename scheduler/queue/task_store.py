"""Tasks in Redis as clients act on them: submit, read, cancel, delete, replay. The scripts decide; this names arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redislink.pipe import Argument
from runtime import spans
from runtime.errors import (
    InvalidArgument,
    TaskConflict,
    TaskNotFound,
    TooManyTasks,
    Unavailable,
    WrongState,
    YiVideoError,
)
from runtime.rpc_errors import clip
from scheduler.metrics import count_ended
from scheduler.queue.admission import AdmittedTask
from scheduler.queue.bindings import to_json, unbound
from scheduler.queue.claim import NOTHING_ASKED, ClaimAsk, Claimed, claim_names, read_claimed
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import StoredTask
from scheduler.queue.record import TaskRecord, to_record
from scheduler.queue.redis_link import RedisLink, named, random_token
from scheduler.queue.task_trace import trace_of
from scheduler.settings import SchedulerSection
from yivideo.task.v1 import task_pb2

_SETTLE_AT_ONCE = 50

ACCEPTED = task_pb2.TaskEvent(
    accepted=task_pb2.TaskAccepted(state=task_pb2.TASK_STATE_PENDING)
).SerializeToString()
ACCEPTED_BLOCKED = task_pb2.TaskEvent(
    accepted=task_pb2.TaskAccepted(state=task_pb2.TASK_STATE_BLOCKED)
).SerializeToString()


def again_event(
    code: str, message: str, state: task_pb2.TaskState.ValueType = task_pb2.TASK_STATE_PENDING
) -> bytes:
    """Return the event of an ended task that runs again, as it is stored; `state`: PENDING or BLOCKED."""
    error = task_pb2.TaskError(code=code, message=message, retryable=True)
    return task_pb2.TaskEvent(retrying=task_pb2.TaskRetrying(error=error, state=state)).SerializeToString()


_AGAIN = "the task was submitted again after it had ended without a usable result"
RESUBMITTED = again_event("RESUBMITTED", _AGAIN)
RESUBMITTED_BLOCKED = again_event("RESUBMITTED", _AGAIN, task_pb2.TASK_STATE_BLOCKED)
REPLAYED = again_event("REPLAYED", "the dead letter was put back into its queue")


def failed_event(error: task_pb2.TaskError, duration_seconds: float = 0.0) -> bytes:
    """Return the terminal event of a failure, as it is stored."""
    failed = task_pb2.TaskFailed(error=error, duration_seconds=duration_seconds)
    return task_pb2.TaskEvent(failed=failed).SerializeToString()


def cancelling_event(reason: str) -> bytes:
    """Return the event of a running task that is told to stop, as it is stored."""
    return task_pb2.TaskEvent(cancelling=task_pb2.TaskCancelling(reason=reason)).SerializeToString()


def cancelled_event(reason: str, duration_seconds: float = 0.0) -> bytes:
    """Return the terminal event of a cancellation, as it is stored."""
    cancelled = task_pb2.TaskCancelled(reason=reason, duration_seconds=duration_seconds)
    return task_pb2.TaskEvent(cancelled=cancelled).SerializeToString()


@dataclass(frozen=True)
class Submitted:
    """What became of a submit."""

    outcome: str
    """`created`, `again` (an ended task runs again) or `existing`."""
    created_us: int
    state: str
    claimed: Claimed
    """What was taken for the slot that the caller knew of."""
    refusal: Unavailable | None = None
    """Why the client may not be told that the task is accepted, though it is stored: too few replicas have it."""


@dataclass(frozen=True)
class Cancelled:
    """What became of a cancel: ended at once, or an attempt that must be told to stop."""

    ended: bool
    address: str = ""
    attempt: int = 0
    fence: int = 0


class TaskStore:
    """The tasks of one installation."""

    def __init__(self, redis: RedisLink, keys: Keys, settings: SchedulerSection, scheduler: str) -> None:
        self._redis = redis
        self._keys = keys
        self._settings = settings
        self._limits = settings.limits
        self._ttl_ms = int(settings.result_ttl_seconds * 1000)
        self._scheduler = scheduler

    async def submit(
        self, task: AdmittedTask, *, awaited: bool = False, ask: ClaimAsk | None = None
    ) -> Submitted:
        """Store a task once. Raises TaskConflict, TooManyTasks or InvalidArgument (a dependency that does not exist).

        `awaited`: a call waits here for the end of a task that this makes. `ask`: a free slot of its node, for which whatever is
        first in the queue then is taken in the same step.
        """
        spec = task.spec
        promised = await self._redis.promise(
            "submit",
            named(
                self._submit_names(task, ask), task.fields | ({"waiter": self._scheduler} if awaited else {})
            ),
            keys=[self._keys.task(spec.task_id), self._keys.task(spec.task_id, "spec"), self._keys.tasks],
        )
        answer = promised.answer
        outcome, state = answer[0].decode(), answer[1].decode()
        self._raise_refusal(outcome, state, task)
        for dependency in answer[3]:
            await self.settle(dependency.decode())
        claimed = read_claimed(answer[4]) if len(answer) > 4 else NOTHING_ASKED
        return Submitted(outcome, int(answer[2]), state, claimed, promised.refusal)

    def _submit_names(self, task: AdmittedTask, ask: ClaimAsk | None) -> dict[str, Argument]:
        limits = self._limits
        return {
            **self.store_names(task, random_token()),
            "caller": self._scheduler,
            "asked": task.asked_ms,
            "max_queued_of_user": limits.max_queued_per_user,
            "max_queued": limits.max_queued,
            "run_again": RESUBMITTED,
            "run_again_blocked": RESUBMITTED_BLOCKED,
            **claim_names(ask, self._settings),
        }

    @staticmethod
    def store_names(task: AdmittedTask, nonce: str) -> dict[str, Argument]:
        """Return the named arguments by which a script knows a new task."""
        spec = task.spec
        return {
            "id": spec.task_id,
            "sha": task.sha,
            "nonce": nonce,
            "user": spec.user,
            "spec": spec.SerializeToString(),
            "workflow": task.fields["workflow"],
            "depends_on": " ".join(spec.depends_on),
            "sources": to_json(task.sources) if task.sources else "",
            "priority": spec.priority,
            "not_before": task.not_before,
            "start_deadline": task.start_deadline_ms,
            "accepted": ACCEPTED,
            "accepted_blocked": ACCEPTED_BLOCKED,
        }

    def _raise_refusal(self, outcome: str, detail: str, task: AdmittedTask) -> None:
        spec, wait = task.spec, self._limits.retry_after_seconds
        match outcome:
            case "conflict":
                raise TaskConflict(
                    f"task {spec.task_id!r} exists with another payload; tasks that belong together have their own "
                    "task_ids and share a workflow_id"
                )
            case "user_full":
                raise TooManyTasks(
                    f"user {spec.user!r} has {self._limits.max_queued_per_user} waiting tasks",
                    retry_after_seconds=wait,
                )
            case "all_full":
                raise TooManyTasks(f"{self._limits.max_queued} tasks wait already", retry_after_seconds=wait)
            case "no_dependency":
                raise InvalidArgument.at(f"/depends_on/{detail}", "no such task")
            case "unbound":
                raise unbound(task.sources[int(detail)])

    async def exists(self, task_id: str) -> bool:
        """Whether there is a task of this id."""
        (found,) = await self._redis.read(lambda pipe: pipe.exists(self._keys.task(task_id)))
        return bool(found)

    async def load(self, task_id: str) -> StoredTask:
        """Return a task with everything that is kept of it. Raises TaskNotFound."""

        def reads(pipe: Any) -> None:
            pipe.hgetall(self._keys.task(task_id))
            pipe.mget(*(self._keys.task(task_id, part) for part in ("spec", "result", "input")))
            pipe.time()

        fields, (spec, result, resolved), (seconds, _) = await self._redis.read(reads)
        record = self._found(task_id, fields, seconds * 1000)
        return StoredTask(record, spec or b"", result or b"", resolved or b"")

    async def load_record(self, task_id: str) -> TaskRecord:
        """Return a task's record alone. Raises TaskNotFound."""

        def reads(pipe: Any) -> None:
            pipe.hgetall(self._keys.task(task_id))
            pipe.time()

        fields, (seconds, _) = await self._redis.read(reads)
        return self._found(task_id, fields, seconds * 1000)

    @staticmethod
    def _found(task_id: str, fields: Mapping[bytes, bytes], now_ms: int) -> TaskRecord:
        record = to_record(task_id, fields) if fields else None
        if record is None or record.expired(now_ms):
            raise TaskNotFound(f"no task {task_id!r}")
        return record

    async def load_many(self, task_ids: Sequence[str], *, whole: bool = False) -> list[StoredTask]:
        """Return those of the tasks that exist, in the order given; without results, unless they are `whole`."""
        if not task_ids:
            return []

        def reads(pipe: Any) -> None:
            for task_id in task_ids:
                pipe.hgetall(self._keys.task(task_id))
            for part in parts:
                pipe.mget(*(self._keys.task(task_id, part) for task_id in task_ids))
            pipe.time()

        parts = ("spec", "result", "input") if whole else ("spec",)
        *answers, (seconds, _) = await self._redis.read(reads)
        hashes, texts = answers[: len(task_ids)], zip(*answers[len(task_ids) :], strict=True)
        found = []
        for task_id, fields, (spec, *rest) in zip(task_ids, hashes, texts, strict=True):
            if fields and spec is not None:
                record = to_record(task_id, fields)
                if not record.expired(seconds * 1000):
                    found.append(StoredTask(record, spec, *(one or b"" for one in rest)))
        return found

    async def load_records(self, task_ids: Sequence[str]) -> list[TaskRecord]:
        """Return the records of those of the tasks that exist, in the order given, without payloads."""

        def reads(pipe: Any) -> None:
            for task_id in task_ids:
                pipe.hgetall(self._keys.task(task_id))
            pipe.time()

        *hashes, (seconds, _) = await self._redis.read(reads)
        found = [
            to_record(task_id, fields) for task_id, fields in zip(task_ids, hashes, strict=True) if fields
        ]
        return [record for record in found if not record.expired(seconds * 1000)]

    async def cancel(self, task_id: str, reason: str, grace_seconds: float | None) -> Cancelled:
        """Stop a task that waits, or mark one that runs. Raises TaskNotFound or WrongState."""
        grace = "" if grace_seconds is None else str(grace_seconds)
        promised = await self._redis.promise(
            "cancel",
            [
                task_id,
                random_token(),
                reason,
                grace,
                cancelling_event(reason),
                cancelled_event(reason),
                self._ttl_ms,
            ],
            keys=[self._keys.task(task_id)],
        )
        answer = promised.answer
        match answer[0]:
            case b"missing":
                raise TaskNotFound(f"no task {task_id!r}")
            case b"wrong":
                state = answer[1].decode()
                raise WrongState(
                    f"task {task_id!r} is being cancelled already"
                    if state == "cancelling"
                    else f"task {task_id!r} is {state}"
                )
            case b"cancelled":
                count_ended(answer[2].decode(), "cancelled")
                await self.trace_waited(task_id, "cancelled", "")
                if answer[1]:
                    await self.settle(task_id)
                promised.told()
                return Cancelled(ended=True)
        promised.told()  # what runs is told with the next beat
        return Cancelled(
            ended=False, address=answer[2].decode(), attempt=int(answer[3]), fence=int(answer[4])
        )

    async def delete(self, task_id: str) -> str:
        """Remove an ended task; answers `deleted`, `missing` or `kept` (it has not ended)."""
        promised = await self._redis.promise("delete", [task_id], keys=[self._keys.task(task_id)])
        outcome, must_settle = promised.answer
        if must_settle:
            await self.settle(task_id)
        promised.told()
        answer: str = outcome.decode()
        return answer

    async def replay(self, task_id: str) -> None:
        """Let a dead letter run again. Raises TaskNotFound when it is none."""
        promised = await self._redis.promise(
            "replay", [task_id, random_token(), REPLAYED], keys=[self._keys.task(task_id)]
        )
        if promised.told() == b"missing":
            raise TaskNotFound(f"{task_id!r} is not a dead letter")

    async def abandon(self, task_id: str) -> None:
        """Fail a task whose start deadline has passed; does nothing when it has started or ended."""
        error = task_pb2.TaskError(
            code="DEADLINE_EXCEEDED", message="the task did not start before its start deadline"
        )
        outcome, must_settle, *node = await self._redis.run(
            "abandon",
            [task_id, error.SerializeToString(), failed_event(error), self._ttl_ms],
            keys=[self._keys.task(task_id)],
        )
        if outcome == b"failed":
            count_ended(node[0].decode(), "failed", error.code)
            await self.trace_waited(task_id, "failed", error.code)
        if must_settle:
            await self.settle(task_id)

    async def trace_waited(self, task_id: str, state: str, code: str) -> None:
        """Tell the spans of a task that has ended while it waited. Nothing is raised."""
        if not spans.is_on():
            return
        with suppress(YiVideoError):  # it may have been deleted meanwhile
            stored = await self.load(task_id)
            if (trace := trace_of(stored.record, stored.spec)) is not None:
                trace.tell_queue(stored.record.end_ms * 1_000_000, state)
                trace.tell_task(state, code)

    async def _end_of(self, task_id: str) -> str:
        """Return in words how a task ended that has not completed."""
        ((state, raw),) = await self._redis.read(
            lambda pipe: pipe.hmget(self._keys.task(task_id), "state", "error")
        )
        if state is None:
            return "was deleted"
        if state != b"failed" or not raw:
            return "did not complete" if state == b"running" else f"is {state.decode()}"
        error = task_pb2.TaskError.FromString(raw)
        return f"failed: {error.code}: {error.message}"

    async def settle(self, task_id: str) -> None:
        """Tell all tasks that wait for an ended one, and those that wait for them in turn."""
        pending = [task_id]
        while pending:
            current = pending.pop()
            error = task_pb2.TaskError(
                code="DEPENDENCY_FAILED",
                message=clip(f"task {current!r}, which this one depends on, {await self._end_of(current)}"),
            )
            left, further, failed = await self._redis.run(
                "settle_dependents",
                [current, _SETTLE_AT_ONCE, self._ttl_ms, error.SerializeToString(), failed_event(error)],
                keys=[self._keys.task(current), self._keys.task(current, "dependents")],
            )
            pending.extend(name.decode() for name in further)
            for told in failed:
                node, dependent = told.decode().split(" ")
                count_ended(node, "failed", error.code)
                await self.trace_waited(dependent, "failed", error.code)
            if left:
                pending.append(current)
