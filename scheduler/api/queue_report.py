"""The state of every node's queue, for ListQueues and for Prometheus."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from runtime.errors import Unavailable
from runtime.rpc_errors import clip
from scheduler import metrics
from scheduler.api.event_feed import EventFeed
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from scheduler.run.dispatcher import Dispatcher
from scheduler.run.replica_link import ReplicaLink
from scheduler.settings import SchedulerSection
from yivideo.task.v1 import task_pb2

_PERIOD_SECONDS = 5.0
_COUNTED = ("ready", "delayed", "blocked", "lease", "dead")
_PROBLEMS = 32
_PROBLEM_BYTES = 500
_REPLICAS = 64
_NAMES = 64
_NAME_BYTES = 200
_SHOWN = ("ready", "delayed", "blocked", "running", "dead")


class QueueReport:
    """Reads queues."""

    def __init__(
        self,
        redis: RedisLink,
        keys: Keys,
        dispatcher: Dispatcher,
        feed: EventFeed,
        settings: SchedulerSection,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._dispatcher = dispatcher
        self._feed = feed
        self._configured = {section.node for section in settings.nodes}

    async def queues(self, node: str = "") -> list[task_pb2.Queue]:
        """Return the queues of all nodes, or of one, in node order."""
        (known,) = await self._redis.read(lambda pipe: pipe.smembers(self._keys.nodes))
        names = sorted({name.decode() for name in known} | self._configured)
        if node:
            names = [name for name in names if name == node]

        def reads(pipe: Any) -> None:
            pipe.time()
            for name in names:
                for place in _COUNTED:
                    pipe.zcard(self._keys.queue(name, place))
                pipe.zrange(self._keys.queue(name, "ready"), 0, 0, withscores=True)

        (seconds, microseconds), *answers = await self._redis.read(reads)
        now_ms = seconds * 1000 + microseconds // 1000
        width = len(_COUNTED) + 1
        return [
            self._queue(name, answers[at * width : (at + 1) * width], now_ms) for at, name in enumerate(names)
        ]

    def _queue(self, name: str, figures: list[Any], now_ms: int) -> task_pb2.Queue:
        ready, delayed, blocked, running, dead, oldest = figures
        replicas = [link for link in self._dispatcher.links if link.node == name]
        links = [link for link in replicas if link.connected]
        return task_pb2.Queue(
            node=name,
            ready_count=ready,
            delayed_count=delayed,
            blocked_count=blocked,
            running_count=running,
            dead_letter_count=dead,
            oldest_wait_seconds=max(0.0, (now_ms - oldest[0][1]) / 1000) if oldest else 0.0,
            replica_count=len(links),
            slot_count=sum(link.status.slots for link in links),
            free_slot_count=sum(max(0, link.free_slots) for link in links),
            problems=[clip(problem, _PROBLEM_BYTES) for link in replicas for problem in link.problems][
                :_PROBLEMS
            ],
            replicas=[_replica(link) for link in sorted(replicas, key=lambda one: one.address)[:_REPLICAS]],
        )

    async def scheduler_count(self) -> int:
        """Return how many scheduler replicas count as alive."""
        (found,) = await self._redis.read(
            lambda pipe: pipe.zcount(self._keys.schedulers, time.time() * 1000, "+inf")
        )
        return int(found)

    async def publish_for_ever(self) -> None:
        """Keep the gauges up to date."""
        while True:
            with suppress(Unavailable):
                for queue in await self.queues():
                    counts = (
                        queue.ready_count, queue.delayed_count, queue.blocked_count,
                        queue.running_count, queue.dead_letter_count,
                    )  # fmt: skip
                    for state, count in zip(_SHOWN, counts, strict=True):
                        metrics.QUEUE_TASKS.labels(queue.node, state).set(count)
                    metrics.QUEUE_OLDEST.labels(queue.node).set(queue.oldest_wait_seconds)
                    metrics.NODE_SLOTS.labels(queue.node, "all").set(queue.slot_count)
                    metrics.NODE_SLOTS.labels(queue.node, "free").set(queue.free_slot_count)
            metrics.WATCHERS.set(self._feed.watcher_count)
            await asyncio.sleep(_PERIOD_SECONDS)


def _replica(link: ReplicaLink) -> task_pb2.NodeReplica:
    status = link.status
    return task_pb2.NodeReplica(
        address=link.address,
        replica=status.replica,
        connected=link.connected,
        draining=status.draining,
        slot_count=status.slots,
        free_slot_count=max(0, link.free_slots),
        engines=[clip(name, _NAME_BYTES) for name in status.engines[:_NAMES]],
        warm_models=[clip(name, _NAME_BYTES) for name in status.warm_models[:_NAMES]],
        version=clip(status.version, _NAME_BYTES),
    )
