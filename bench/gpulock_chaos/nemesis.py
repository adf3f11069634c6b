"""The nemesis: one fault after the other, drawn by a seed; each is healed before the next, but what it caused is not waited for."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

from bench.gpulock_chaos.arena import Arena, Victim

_FREEZES = (0.3, 4.5)
"""Seconds: shorter and longer than a lease lives without a beat."""
_PAUSES = (0.3, 1.5)


class Nemesis:
    """Hurts an arena."""

    def __init__(self, arena: Arena, seed: int, force_release: Callable[[int], Awaitable[None]]) -> None:
        self._arena = arena
        self._luck = random.Random(seed)
        self._force_release = force_release
        self.done: Counter[str] = Counter()
        """How often each fault was done."""
        self.node_deaths: list[int] = []
        """Nodes that were killed, in order."""
        self._faults: tuple[Callable[[], Awaitable[None]], ...] = (
            self.kill_node, self.freeze_node, self.kill_replica, self.freeze_replica, self.freeze_redis,
            self.kill_redis, self.wipe_redis, self.make_redis_stale, self.take_by_force,
        )  # fmt: skip

    async def run(self, seconds: float) -> None:
        """Do faults for a while: each kind once in drawn order, then any."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        first = list(self._faults)
        self._luck.shuffle(first)
        while loop.time() < end:
            await asyncio.sleep(self._luck.uniform(*_PAUSES))
            if self._luck.random() < 0.5:
                await asyncio.to_thread(self._arena.take_snapshot)
            fault = first.pop() if first else self._luck.choice(self._faults)
            self.done[fault.__name__] += 1
            await fault()

    async def _restart(self, victim: Victim, meanwhile: Callable[[], None] = lambda: None) -> None:
        victim.kill()
        await asyncio.sleep(self._luck.uniform(0.0, 1.0))
        meanwhile()
        victim.start()
        await asyncio.to_thread(victim.wait)

    async def _freeze(self, victim: Victim) -> None:
        victim.freeze()
        await asyncio.sleep(self._luck.uniform(*_FREEZES))
        victim.thaw()

    async def kill_node(self) -> None:
        """SIGKILL a holder's node."""
        number = self._luck.randrange(len(self._arena.nodes))
        self.node_deaths.append(number)
        await self._restart(self._arena.nodes[number])

    async def freeze_node(self) -> None:
        """SIGSTOP a holder's node, for shorter or longer than its lease lives."""
        await self._freeze(self._luck.choice(self._arena.nodes))

    async def kill_replica(self) -> None:
        """SIGKILL a replica of the lock service."""
        await self._restart(self._luck.choice(self._arena.replicas))

    async def freeze_replica(self) -> None:
        """SIGSTOP a replica of the lock service."""
        await self._freeze(self._luck.choice(self._arena.replicas))

    async def freeze_redis(self) -> None:
        """SIGSTOP Redis."""
        await self._freeze(self._arena.redis)

    async def kill_redis(self) -> None:
        """SIGKILL Redis; it comes back with its append-only file."""
        await self._restart(self._arena.redis)

    async def wipe_redis(self) -> None:
        """SIGKILL Redis; it comes back empty."""
        await self._restart(self._arena.redis, lambda: self._arena.lose_data(stale=False))

    async def make_redis_stale(self) -> None:
        """SIGKILL Redis; it comes back as it was at the last snapshot."""
        await self._restart(self._arena.redis, lambda: self._arena.lose_data(stale=True))

    async def take_by_force(self) -> None:
        """Take a device from whoever holds it, as an operator does."""
        await self._force_release(self._luck.randrange(2))
