"""The stores of a scheduler replica on a real Redis, without gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis

from scheduler.queue.admission import AdmittedTask
from scheduler.queue.attempt_store import AttemptStore, Ending
from scheduler.queue.bindings import Source
from scheduler.queue.claim import Claim, ClaimAsk, Claimed
from scheduler.queue.keys import Keys
from scheduler.queue.node_event import NodeEvent
from scheduler.queue.payload import fingerprint
from scheduler.queue.redis_link import RedisLink, connected
from scheduler.queue.task_store import Submitted, TaskStore, cancelled_event, failed_event
from scheduler.settings import SchedulerSection
from tests.scheduler.short_times import PREFIX, SHORT
from yivideo.task.v1 import task_pb2

ERROR = task_pb2.TaskError(code="WORKER_LOST", message="gone")


@dataclass
class Queue:
    """The stores of one scheduler replica."""

    redis: RedisLink
    tasks: TaskStore
    attempts: AttemptStore
    raw: Redis

    async def submit(self, task_id: str, user: str = "u", **fields: Any) -> str:
        return (await self.submitted(task_id, user, **fields)).outcome

    async def submitted(
        self,
        task_id: str,
        user: str = "u",
        *,
        slots: int = 0,
        node: str = "media",
        not_before: str = "0",
        start_deadline_ms: int = 0,
        asked_ms: int = 0,
        sources: tuple[Source, ...] = (),
        **fields: Any,
    ) -> Submitted:
        """Submit; `slots`: with a claim for one of so many slots."""
        spec = task_pb2.TaskSpec(task_id=task_id, task_name=f"{node}.extract", user=user, **fields)
        admitted = AdmittedTask(
            spec=spec, node=node, sha=fingerprint(spec), not_before=not_before,
            start_deadline_ms=start_deadline_ms, timeout_seconds=60,
            fields={
                "user": user, "node": node, "name": spec.task_name, "workflow": spec.workflow_id or task_id,
                "timeout": "60", "callback": spec.callback_url, "labels": b"",
            },
            asked_ms=asked_ms, sources=sources,
        )  # fmt: skip
        ask = ClaimAsk("r1", "r1:1", slots, lane=1, most=1) if slots else None
        return await self.tasks.submit(admitted, ask=ask)

    async def ask(
        self, *, replica: str = "r1", slots: int = 1000, node: str = "media", lane: int = 0, most: int = 1
    ) -> Claimed:
        return await self.attempts.claim(node, ClaimAsk(replica, f"{replica}:1", slots, lane, most))

    async def claim(self, **fields: Any) -> Claim:
        (claim,) = (await self.ask(**fields)).claims
        return claim

    async def claim_id(self, **fields: Any) -> str:
        return (await self.claim(**fields)).record.task_id

    async def complete(self, claim: Claim, *events: NodeEvent) -> str:
        done = task_pb2.TaskCompleted(duration_seconds=1)
        ending = Ending("completed", task_pb2.TaskEvent(completed=done), 1.0, result=done)
        return (await self.attempts.end(claim, ending, events)).outcome

    async def lose_under_work(self, claim: Claim) -> str:
        """Lose the node after it has said that the attempt began."""
        await self.attempts.append(claim, [NodeEvent("event", 1, b"")])
        return await self.lose(claim)

    async def lose(self, claim: Claim) -> str:
        bodies = {
            "retrying": failed_event(ERROR),
            "failed": failed_event(ERROR),
            "cancelled": cancelled_event(""),
        }
        word, _ = await self.attempts.lose(claim, ERROR, 1.0, **bodies)
        return word

    def snapshot(self) -> dict[bytes, Any]:
        """Every key and its whole value but the time of the last message: what a repetition must leave as it was."""
        found: dict[bytes, Any] = {}
        for key in self.raw.scan_iter(PREFIX + "*"):
            assert isinstance(key, bytes)
            if self.raw.type(key) == b"hash":
                fields = self.raw.hgetall(key)
                found[key] = {name: value for name, value in fields.items() if name != b"updated"}
            elif key != PREFIX.encode() + b"schedulers":
                found[key] = self.raw.dump(key)
        return found


@asynccontextmanager
async def running_queue(redis_url: str, raw: Redis, name: str, **section: Any) -> AsyncIterator[Queue]:
    """Connect the stores of a replica that has just said that it lives."""
    given = SchedulerSection(
        **{**SHORT, "redis_url": redis_url, "lease_seconds": 15, "scheduler_ttl_seconds": 6, **section}
    )
    keys = Keys(PREFIX)
    async with connected(given) as link:
        made = Queue(link, TaskStore(link, keys, given, name), AttemptStore(link, keys, given, name), raw)
        await made.attempts.beat([], 5)
        yield made
