"""Attempts in Redis: claim, events, the one end, leases and their adoption. Every write carries the attempt's fence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scheduler.queue.claim import Claim, ClaimAsk, Claimed, claim_names, read_claimed
from scheduler.queue.keys import Keys
from scheduler.queue.node_event import NodeEvent
from scheduler.queue.presenter import StoredTask
from scheduler.queue.record import pairs, to_record
from scheduler.queue.redis_link import RedisLink, named
from scheduler.settings import SchedulerSection
from yivideo.task.v1 import task_pb2

INLINE_RESULT_BYTES = 4096
"""A larger result is kept once, in its own key; its terminal event then points there."""

FOR_EVER = float("inf")


@dataclass(frozen=True)
class Beat:
    """One attempt in a renewal."""

    task_id: str
    fence: int
    age_seconds: float
    """Since the last message from the node."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ends its task."""

    state: str
    event: task_pb2.TaskEvent
    duration_seconds: float
    error: task_pb2.TaskError | None = None
    result: task_pb2.TaskCompleted | None = None
    reusable: bool = True


@dataclass(frozen=True)
class Ended:
    """What became of an end."""

    outcome: str
    """`ended`, `again` (this attempt had ended it already), `unasked` (cancelled by nobody) or `stale`."""
    must_settle: bool
    """Whether other tasks wait for it."""
    task: StoredTask | None = None
    """The ended task, when a call here waits for it and nothing more needs to be read."""


@dataclass(frozen=True)
class Sweep:
    """What one turn of the sweeper found to do."""

    next_seconds: float | None
    adopt: list[tuple[str, float]] = field(default_factory=list)
    """Attempts without a living owner, with the seconds since their lease lapsed."""
    late: list[str] = field(default_factory=list)
    erased: int = 0
    """Ended tasks whose time had come."""
    settle: list[str] = field(default_factory=list)
    ready_nodes: list[str] = field(default_factory=list)
    promoted: int = 0


def _flat(events: Sequence[NodeEvent]) -> list[str | int | bytes]:
    return [part for event in events for part in (event.kind, event.node_sequence, event.body)]


class AttemptStore:
    """The attempts that run under one scheduler replica."""

    def __init__(self, redis: RedisLink, keys: Keys, settings: SchedulerSection, scheduler: str) -> None:
        self._redis = redis
        self._keys = keys
        self._settings = settings
        self._lease_ms = int(settings.lease_seconds * 1000)
        self._ttl_ms = int(settings.result_ttl_seconds * 1000)
        self._scheduler = scheduler

    async def claim(self, node: str, ask: ClaimAsk) -> Claimed:
        """Take tasks of a node for free slots of one of its replicas.

        Replicas of the store are waited for as in a submit: what starts on a claim that a failover forgets is claimed again, and
        runs twice for a moment. Without replicas it starts all the same, a little later.
        """
        promised = await self._redis.promise(
            "claim",
            named({"node": node, "caller": self._scheduler, **claim_names(ask, self._settings)}),
            keys=[self._keys.queue(node, "users"), self._keys.queue(node, "ready"), self._keys.queue(node, "lease")],
        )  # fmt: skip
        return read_claimed(promised.answer)

    async def append(self, claim: Claim, events: Sequence[NodeEvent]) -> str:
        """Store events; answers `running`, `cancelling` or `stale`."""
        return await self._outcome("append", claim, _flat(events))

    async def fence_before(self, claim: Claim) -> int:
        """Return the fence of the attempt that this one follows; 0: none. This one may be noted already."""
        (noted,) = await self._redis.read(
            lambda pipe: pipe.lrange(self._keys.task(claim.record.task_id, "attempts"), -2, -1)
        )
        fences = [int(line.split(b"\n", 4)[3]) for line in noted]
        return next((fence for fence in reversed(fences) if fence != claim.record.fence), 0)

    async def keep_input(self, claim: Claim, resolved: task_pb2.TaskSpec) -> str:
        """Keep an input whose references were resolved; answers `kept` or `stale`."""
        return await self._outcome("resolve_input", claim, [resolved.SerializeToString()])

    async def end(self, claim: Claim, ending: Ending, events: Sequence[NodeEvent]) -> Ended:
        """End the task, unless it has ended or is not this attempt's any more."""
        event, result = ending.event, b""
        detached = False
        if ending.result is not None:
            result = ending.result.SerializeToString()
            detached = len(result) > INLINE_RESULT_BYTES
        if detached:
            event = task_pb2.TaskEvent(completed=task_pb2.TaskCompleted(skipped=ending.state == "skipped"))
        answer = await self._run(
            "end",
            claim,
            [
                ending.state, self._ttl_ms, ending.duration_seconds, "1" if ending.reusable else "0",
                ending.error.SerializeToString() if ending.error else b"", result, event.SerializeToString(),
                "1" if detached else "0", *_flat(events),
            ],
        )  # fmt: skip
        outcome, must_settle = answer[0].decode(), bool(answer[1])
        if len(answer) < 3 or not answer[2]:
            return Ended(outcome, must_settle)
        record = to_record(claim.record.task_id, pairs(answer[2]))
        return Ended(outcome, must_settle, StoredTask(record, claim.spec, result))

    async def retry_later(
        self,
        claim: Claim,
        delay_seconds: float,
        error: task_pb2.TaskError,
        event: task_pb2.TaskEvent,
        events: Sequence[NodeEvent],
    ) -> str:
        """Let another attempt follow; answers `retrying`, `cancelling` or `stale`."""
        arguments = [int(delay_seconds * 1000), error.SerializeToString(), event.SerializeToString()]
        return await self._outcome("retry_later", claim, [*arguments, *_flat(events)])

    async def hand_back(
        self,
        claim: Claim,
        *,
        checkpoint: bytes = b"",
        event: task_pb2.TaskEvent | None = None,
        events: Sequence[NodeEvent] = (),
    ) -> str:
        """Put an uncounted attempt's task back in its place; answers `pending`, `cancelling` or `stale`."""
        body = event.SerializeToString() if event else b""
        return await self._outcome("hand_back", claim, [checkpoint, body, *_flat(events)])

    async def lose(
        self,
        claim: Claim,
        error: task_pb2.TaskError,
        duration_seconds: float,
        *,
        retrying: bytes,
        failed: bytes,
        cancelled: bytes,
    ) -> tuple[str, bool]:
        """Say that the node is gone; answers `retrying`, `failed`, `cancelled` or `stale`, and whether tasks wait for it."""
        arguments = [
            self._scheduler, self._settings.max_worker_lost, self._ttl_ms, duration_seconds,
            error.SerializeToString(), retrying, failed, cancelled, self._settings.max_never_begun,
        ]  # fmt: skip
        answer = await self._run("lose", claim, arguments)
        return answer[0].decode(), bool(answer[1])

    async def beat(self, beats: Sequence[Beat], retry_seconds: float) -> list[list[str]]:
        """Renew leases; answers one of [`lost`], [`kept`], [`cancelling`, grace, reason] for each."""
        arguments: list[str | int] = []
        for one in beats:
            arguments += [one.task_id, one.fence, int(one.age_seconds * 1000)]
        ttl_ms = int(self._settings.scheduler_ttl_seconds * 1000)
        answers = await self._redis.run(
            "beat",
            [self._scheduler, ttl_ms, self._lease_ms, *arguments],
            keys=[self._keys.schedulers],
            retry_seconds=retry_seconds,
        )
        return [[outcome.decode() for outcome in answer] for answer in answers]

    async def retire(self) -> None:
        """Count as dead from now on, so that other replicas adopt what is left here at once."""
        await self._redis.read(lambda pipe: pipe.zadd(self._keys.schedulers, {self._scheduler: 0}))

    async def adopt(self, task_id: str) -> Claim | None:
        """Become the owner of an attempt whose owner is gone; None when it has one."""
        answer = await self._redis.run(
            "adopt", [task_id, self._scheduler, self._lease_ms], keys=[self._keys.task(task_id)]
        )
        if answer[0] != b"adopted":
            return None
        _, fields, spec, resolved, checkpoint, silent_ms = answer
        return Claim(to_record(task_id, pairs(fields)), spec, checkpoint, resolved, int(silent_ms) / 1000)

    async def sweep(self, limit: int) -> Sweep:
        """Do one bounded turn of what time brings, and say what is left for the caller."""
        soonest, adopt, late, erased, settle, ready, promoted = await self._redis.run(
            "sweep", [limit], keys=[self._keys.nodes, self._keys.schedulers, self._keys.settle]
        )
        items = iter(adopt)
        return Sweep(
            next_seconds=None if soonest < 0 else soonest / 1000,
            adopt=[(name.decode(), int(behind) / 1000) for name, behind in zip(items, items, strict=True)],
            late=[name.decode() for name in late],
            erased=erased,
            settle=[name.decode() for name in settle],
            ready_nodes=[name.decode() for name in ready],
            promoted=promoted,
        )

    async def _run(self, script: str, claim: Claim, arguments: Sequence[Any]) -> Any:
        # A finished attempt's end must not get lost because Redis restarts: it is repeated until it is stored.
        return await self._redis.run(
            script,
            [claim.record.task_id, claim.record.fence, *arguments],
            keys=[self._keys.task(claim.record.task_id)],
            retry_seconds=FOR_EVER,
        )

    async def _outcome(self, script: str, claim: Claim, arguments: Sequence[Any]) -> str:
        answer = await self._run(script, claim, arguments)
        outcome: str = (answer[0] if isinstance(answer, list) else answer).decode()
        return outcome
