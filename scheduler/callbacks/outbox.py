"""The outbox in Redis: callbacks that are due, each held by one replica for one delivery at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.errors import TaskNotFound, WrongState
from scheduler.queue.keys import Keys
from scheduler.queue.presenter import CALLBACK_STATES
from scheduler.queue.redis_link import RedisLink, random_token
from yivideo.task.v1 import task_pb2

DELIVERIES_KEPT = 50


@dataclass(frozen=True)
class DueCallback:
    """A callback that this replica holds for one delivery."""

    task_id: str
    round: int
    """Which of the task's ends it tells; a task that ran again has several."""
    tries: int
    """Deliveries of this schedule made before."""
    url: str
    overdue_seconds: float
    token: str

    @property
    def webhook_id(self) -> str:
        """The id that is the same for every delivery of this callback."""
        return f"msg_{self.task_id}_{self.round}"


class Outbox:
    """Callbacks waiting to be delivered."""

    def __init__(self, redis: RedisLink, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def take(self, limit: int, hold_seconds: float) -> tuple[list[DueCallback], float | None]:
        """Hold due callbacks; gives them, and the seconds until another is due (None: nothing waits)."""
        token = random_token()
        wait, flat = await self._redis.run(
            "outbox_take", [limit, int(hold_seconds * 1000), token], keys=[self._keys.outbox]
        )
        items = iter(flat)
        taken = [
            DueCallback(task_id.decode(), int(number), int(tries), url.decode(), int(overdue) / 1000, token)
            for task_id, number, tries, url, overdue in zip(*[items] * 5, strict=True)
        ]
        return taken, None if wait < 0 else wait / 1000

    async def postpone(self, waits: Sequence[tuple[DueCallback, float]]) -> None:
        """Let go of callbacks of one `take`, each due again after so many seconds; nothing was sent, no schedule moves on."""
        if not waits:
            return
        flat: list[str | int] = []
        for due, seconds in waits:
            flat += [due.task_id, int(seconds * 1000)]
        await self._redis.run("outbox_postpone", [waits[0][0].token, *flat], keys=[self._keys.outbox])

    async def settle(
        self, due: DueCallback, state: str, delivery: task_pb2.Delivery, delay_seconds: float = 0.0
    ) -> None:
        """Record a delivery and what follows: `sent`, `failed`, `invalid_url`, or `pending` again after a delay."""
        await self._redis.run(
            "outbox_settle",
            [
                due.task_id, due.token, state, int(delay_seconds * 1000),
                delivery.SerializeToString(), DELIVERIES_KEPT,
            ],
            keys=[self._keys.task(due.task_id), self._keys.outbox],
        )  # fmt: skip

    async def deliveries(self, task_id: str) -> task_pb2.ListDeliveriesResponse:
        """Return the state of a callback and the attempts that are kept, oldest first, numbered from the first one ever made."""
        state, next_ms, made, *kept = await self._redis.run(
            "deliveries", [task_id], keys=[self._keys.task(task_id)]
        )
        log = task_pb2.ListDeliveriesResponse(status=CALLBACK_STATES[state.decode()])
        if log.status == task_pb2.CALLBACK_STATUS_PENDING and next_ms:
            log.next_time.FromMilliseconds(int(next_ms))
        for back, stored in enumerate(kept):
            delivery = task_pb2.Delivery.FromString(stored)
            delivery.attempt = int(made or len(kept)) - (len(kept) - 1 - back)
            log.deliveries.append(delivery)
        return log

    async def redeliver(self, task_id: str, *, unless_due: bool = False) -> None:
        """Make a callback due now, with its schedule from the start. Raises TaskNotFound or WrongState."""
        answer = await self._redis.run(
            "redeliver",
            [task_id, "1" if unless_due else "0"],
            keys=[self._keys.task(task_id), self._keys.outbox],
        )
        match answer:
            case b"missing":
                raise TaskNotFound(f"no task {task_id!r}")
            case b"not ended":
                raise WrongState(f"task {task_id!r} has not ended")
            case b"no callback":
                raise WrongState(f"task {task_id!r} has no callback")
