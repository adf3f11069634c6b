"""Where a waiting task stands, and in how many seconds it may start. An estimate is made of what was seen, or not made at all."""

from __future__ import annotations

from scheduler.queue.keys import Keys
from scheduler.queue.record import TaskRecord
from scheduler.queue.redis_link import RedisLink
from scheduler.run.dispatcher import Dispatcher
from yivideo.task.v1 import task_pb2

_MOST_USERS = 500
_FEWEST_ATTEMPTS = 3


class QueuePlaces:
    """Reads places."""

    def __init__(
        self, redis: RedisLink, keys: Keys, dispatcher: Dispatcher, max_running_per_user: int
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._dispatcher = dispatcher
        self._run_times = dispatcher.run_times
        self._max_running = max_running_per_user

    async def place(self, record: TaskRecord) -> task_pb2.QueuePlace | None:
        """Return a task's place among those that wait for its node; None when it could not start now anyhow."""
        if record.state != "pending":
            return None
        position = await self._redis.run(
            "place", [record.task_id, _MOST_USERS, self._max_running], keys=[self._keys.task(record.task_id)]
        )
        if position < 0:
            return None
        place = task_pb2.QueuePlace(position=position)
        if position:
            self._estimate(place, record.node)
        return place

    def _estimate(self, place: task_pb2.QueuePlace, node: str) -> None:
        """Say in how many seconds: slots become free at the rate at which attempts of the mean length end on all of them."""
        links = [link for link in self._dispatcher.links if link.node == node and link.offered]
        slots = sum(link.status.slots for link in links)
        seen = self._run_times.of(node)
        if not slots or seen.count < _FEWEST_ATTEMPTS:
            return
        place.estimated_wait_seconds = round(place.position * seen.mean_seconds / slots, 1)
        place.estimate_basis = (
            f"place {place.position}; the last {seen.count} attempts of {node} ran {seen.mean_seconds:.1f} s on average, "
            f"on {slots} {'slot' if slots == 1 else 'slots'}"
        )
