"""Claims: what is asked of the queue for free slots of a node replica, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from redislink.pipe import Argument
from scheduler.queue.record import TaskRecord, pairs, to_record
from scheduler.queue.redis_link import random_token
from scheduler.queue.task_trace import TaskTrace, trace_of
from scheduler.settings import SchedulerSection


@dataclass(frozen=True)
class Claim:
    """An attempt that this scheduler owns."""

    record: TaskRecord
    spec: bytes
    checkpoint: bytes
    resolved_input: bytes = b""
    silent_seconds: float = 0.0
    """Adopted attempts: how long ago the last message of the node came."""

    @cached_property
    def trace(self) -> TaskTrace | None:
        """Where the task stands in its trace; None when that is not recorded."""
        return trace_of(self.record, self.spec)


@dataclass(frozen=True, slots=True)
class ClaimAsk:
    """For whom tasks may be taken."""

    replica: str
    address: str
    slots: int
    """All slots of the replica; never more than these are taken, whoever claims."""
    lane: int
    most: int
    """How many to take at most."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim gave."""

    outcome: str
    """`claimed`, or why nothing was taken: `empty`, `full`, `limit`, `more` (ask again) or, when nothing was asked, ``."""
    claims: list[Claim] = field(default_factory=list)
    ready: bool = False
    """Whether others were ready when these were taken."""

    @property
    def may_be_more(self) -> bool:
        """Whether another claim could take something, now or when a slot becomes free."""
        return self.ready if self.outcome == "claimed" else self.outcome != "empty"


NOTHING_ASKED = Claimed("")


class Lanes:
    """Numbers for the claims under way for one address. Of each the scripts remember the last claim, so that one whose answer was
    lost finds what it took when it is repeated; two at once with one number would forget the first.
    """

    def __init__(self, count: int) -> None:
        self._free = list(range(count - 1, -1, -1))
        self._count = count

    @property
    def taken(self) -> int:
        """Claims under way."""
        return self._count - len(self._free)

    @property
    def free(self) -> int:
        """Claims that may begin."""
        return len(self._free)

    @contextmanager
    def one(self) -> Iterator[int]:
        """Have a number for the time of the block. Raises IndexError when none is free."""
        lane = self._free.pop()
        try:
            yield lane
        finally:
            self._free.append(lane)


def claim_names(ask: ClaimAsk | None, settings: SchedulerSection) -> dict[str, Argument]:
    """Return the named arguments by which a script knows for whom to take tasks; None: for nobody."""
    if ask is None:
        return {"most": 0}
    limits = settings.limits
    return {
        "most": ask.most,
        "replica": ask.replica,
        "address": ask.address,
        "slots": ask.slots,
        "lease_ms": int(settings.lease_seconds * 1000),
        "max_running_of_user": limits.max_running_per_user,
        "max_running": limits.max_running,
        "lane": ask.lane,
        "claim_token": random_token(),
    }


def read_claimed(answer: list[Any]) -> Claimed:
    """Return what a script answered."""
    if not answer:
        return NOTHING_ASKED
    outcome = answer[0].decode()
    if outcome != "claimed":
        return Claimed(outcome)
    _, ready, *taken = answer
    claims = [
        Claim(to_record(task_id.decode(), pairs(fields)), spec, checkpoint)
        for task_id, fields, spec, checkpoint in taken
    ]
    return Claimed(outcome, claims, bool(ready))
