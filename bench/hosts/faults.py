"""What befalls hosts: each is lost and comes back; Redis fails over three times; a node is gained by name and lost again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.chaos.faults import Fault, Plan
from bench.chaos.nemesis import Strike
from bench.hosts.installation import GUEST, HostsInstallation
from bench.hosts.network import HOSTS
from bench.redis_group import Member

NODE_CUT_SECONDS = 62.0
"""Longer than anybody waits for a node: what ran there runs again elsewhere, and the node has ended it by then."""

PLAN = Plan(
    (
        Fault(6.0, "cut", "node-a", NODE_CUT_SECONDS),
        Fault(20.0, "gain", GUEST),
        Fault(30.0, "kill", "redis primary", 4.0),
        Fault(74.0, "cut", "redis primary", 15.0),
        Fault(98.0, "unplug", "scheduler", 12.0),
        Fault(114.0, "drain", "node-b", 2.0),
        Fault(120.0, "lose", GUEST),
        Fault(128.0, "drain", "scheduler-2", 1.0),
        Fault(134.0, "order", "redis primary"),
    ),
    146.0,
)
_PARTS = {"node-b": ("forge-2", "anvil"), "scheduler-2": ("scheduler-2",)}
_PAUSE_MS = 3000
_NOTICED_SECONDS = 4.0
"""Until schedulers have asked for a name again."""


@dataclass(frozen=True)
class Failover:
    """A change of the primary."""

    how: str
    began: float
    ended: float
    """When the sentinels named the next one."""


class HostNemesis:
    """Carries out the plan; `strikes` and `failovers` say what really happened."""

    def __init__(self, installation: HostsInstallation, say: Callable[[str], None]) -> None:
        self._installation = installation
        self._say = say
        self.strikes: list[Strike] = []
        self.failovers: list[Failover] = []

    async def carry_out(self, plan: Plan, began: float) -> None:
        """Carry out the plan, whose times count from `began`."""
        async with asyncio.TaskGroup() as group:
            for fault in plan.faults:
                group.create_task(self._strike(fault, began))

    async def _strike(self, fault: Fault, story_began: float) -> None:
        await asyncio.sleep(story_began + fault.at - time.monotonic())
        began = time.monotonic()
        strike: Callable[[Fault], Coroutine[Any, Any, None]] = getattr(self, f"_{fault.kind}")
        await strike(fault)
        self.strikes.append(Strike(fault, began, time.monotonic(), hit=True))
        self._say(f"  {time.monotonic() - story_began:6.1f} s  over: {fault.kind} {fault.target}")

    async def _cut(self, fault: Fault) -> None:
        network = self._installation.network
        if fault.target != "redis primary":
            network.cut(fault.target)
            await asyncio.sleep(fault.seconds)
            network.heal(fault.target)
            return
        async with self._failover("its host was cut off") as primary:
            host = next(name for name, address in HOSTS.items() if address == primary.host)
            network.cut(host)
            began = time.monotonic()
            await self._await_failover(primary)
        await asyncio.sleep(max(0.0, fault.seconds - (time.monotonic() - began)))
        network.heal(host)
        await self._whole()

    async def _unplug(self, fault: Fault) -> None:
        self._installation.network.unplug(fault.target)
        await asyncio.sleep(fault.seconds)
        self._installation.network.plug(fault.target)

    async def _kill(self, fault: Fault) -> None:
        async with self._failover("SIGKILL") as primary:
            primary.kill()
            await self._await_failover(primary)
        await asyncio.sleep(fault.seconds)
        self._installation.redis.restart(primary)
        await self._whole()

    async def _order(self, fault: Fault) -> None:
        del fault
        group = self._installation.redis
        async with self._failover("by order, writes paused") as primary:
            with group.client(primary) as old, group.client(group.sentinels[0]) as sentinel:
                # Without the pause it goes on for a second beside its successor, and the other replica confirms what it takes.
                old.client_pause(_PAUSE_MS, all=False)
                sentinel.execute_command("SENTINEL", "FAILOVER", "tasks")
            await self._await_failover(primary)
        await self._whole()

    async def _drain(self, fault: Fault) -> None:
        for name in _PARTS[fault.target]:
            self._installation.signal(name, signal.SIGTERM, fault.seconds)

    async def _gain(self, fault: Fault) -> None:
        del fault
        await self._installation.gain()

    async def _lose(self, fault: Fault) -> None:
        del fault
        await self._installation.lose()
        await asyncio.sleep(_NOTICED_SECONDS)
        await self._installation.stop_guest()

    @asynccontextmanager
    async def _failover(self, how: str) -> AsyncIterator[Member]:
        primary = await asyncio.to_thread(self._installation.redis.primary)
        began = time.monotonic()
        yield primary
        self.failovers.append(Failover(how, began, time.monotonic()))

    async def _await_failover(self, before: Member) -> None:
        await asyncio.to_thread(self._installation.redis.wait_for_failover, before)

    async def _whole(self) -> None:
        await asyncio.to_thread(self._installation.redis.wait_for_replica, 2, 60.0)
