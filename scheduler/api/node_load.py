"""How much work there is for a node, whether or not a replica of it is there: what a node is scaled by.

What runs counts as what waits does, so that nobody scales a busy node away because its queue is empty. A node that was never seen
has published no task type yet, so no task can be submitted for it: it counts as active until it has come once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runtime.errors import NotFound, ResourceExhausted, Unavailable
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.task_types import TaskTypeCatalog

MAX_STREAMS = 256
"""Followers of one scheduler replica."""
_LOOK_SECONDS = 1.0
_SHOWN_NODES = 50


@dataclass(frozen=True)
class NodeLoad:
    """What a node's queue holds at one instant."""

    ready: int
    running: int
    introduced: bool
    """Whether the node has ever said what it can do; until then no task of it is accepted."""

    @property
    def tasks(self) -> int:
        """What a replica is needed for now."""
        return self.ready + self.running

    @property
    def active(self) -> bool:
        """Whether the node should have a replica."""
        return self.tasks > 0 or not self.introduced


class NodeLoads:
    """Reads and follows the loads of nodes."""

    def __init__(
        self,
        redis: RedisLink,
        keys: Keys,
        types: TaskTypeCatalog,
        configured: Collection[str],
        *,
        repeat_seconds: float,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._types = types
        self._configured = frozenset(configured)
        self._repeat_seconds = repeat_seconds
        self._followers: dict[asyncio.Event, str] = {}

    async def of(self, node: str) -> NodeLoad:
        """Return a node's load. Raises NotFound for one that is neither configured nor has published anything; Unavailable."""
        introduced = bool(self._types.all(node))
        if not introduced and node not in self._configured:
            await self._types.load()  # another replica may have learned of it a moment ago
            introduced = bool(self._types.all(node))
            if not introduced:
                raise NotFound(f"there is no node {node[:64]!r} here; there are: {self._names()}")

        def reads(pipe: Any) -> None:
            pipe.zcard(self._keys.queue(node, "ready"))
            pipe.zcard(self._keys.queue(node, "lease"))

        ready, running = await self._redis.read(reads)
        return NodeLoad(ready, running, introduced)

    def _names(self) -> str:
        names = sorted(self._configured | {kind.node for kind in self._types.all()})
        return ", ".join(names[:_SHOWN_NODES]) or "none"

    def wake(self, node: str = "") -> None:
        """Note that a node, or any, may have got work."""
        for event, followed in self._followers.items():
            if not node or followed == node:
                event.set()

    async def follow(self, node: str) -> AsyncGenerator[bool, None]:
        """Yield whether a node is active: now, at every change, and again when it was long the same.

        While the store cannot be read nothing is said: nobody is scaled away for that. Raises NotFound; ResourceExhausted.
        """
        if len(self._followers) >= MAX_STREAMS:
            raise ResourceExhausted(f"{MAX_STREAMS} streams are open at this scheduler")
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        self._followers[event] = node
        try:
            said: bool | None = None
            said_at = 0.0
            while True:
                event.clear()
                with suppress(Unavailable):
                    active = (await self.of(node)).active
                    if active != said or loop.time() - said_at >= self._repeat_seconds:
                        said, said_at = active, loop.time()
                        yield active
                # News is of work that came. Who has work is looked at now and then, whatever else comes for it.
                if said:
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await event.wait()
        finally:
            del self._followers[event]
