"""The nemesis: carries out a plan of faults on an installation and notes what it really did, and when."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from bench.chaos.faults import AT_ONCE, Fault, Plan
from bench.chaos.installation import KINDS, Installation
from bench.chaos.receivers import Receivers
from nodekit.process.process_tree import members


@dataclass(frozen=True)
class Strike:
    """A fault as it befell."""

    fault: Fault
    began: float
    """CLOCK_MONOTONIC seconds."""
    ended: float
    hit: bool
    """Whether there was something to strike."""


class Nemesis:
    """Strikes an installation. `strikes` is filled as faults end."""

    def __init__(self, installation: Installation, receivers: Receivers) -> None:
        self._installation = installation
        self._receivers = receivers
        self.strikes: list[Strike] = []

    async def carry_out(self, plan: Plan, began: float) -> None:
        """Carry out the plan, whose times count from `began`."""
        async with asyncio.TaskGroup() as group:
            for fault in plan.faults:
                group.create_task(self._strike(fault, began + fault.at))

    async def _strike(self, fault: Fault, when: float) -> None:
        await asyncio.sleep(when - time.monotonic())
        began = time.monotonic()
        hit = await getattr(self, f"_{fault.kind}")(fault)
        self.strikes.append(Strike(fault, began, time.monotonic(), hit))

    async def _kill(self, fault: Fault) -> bool:
        return self._installation.signal(fault.target, signal.SIGKILL, fault.seconds) is not None

    async def _drain(self, fault: Fault) -> bool:
        return self._installation.signal(fault.target, signal.SIGTERM, fault.seconds) is not None

    async def _restart(self, fault: Fault) -> bool:
        await self._installation.restart(at_once=fault.target == AT_ONCE)
        return True

    async def _freeze(self, fault: Fault) -> bool:
        pid = self._installation.signal(fault.target, signal.SIGSTOP)
        return await _thaw_later(pid, fault.seconds)

    async def _slay(self, fault: Fault) -> bool:
        pid = self._busy_child(fault)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None

    async def _stun(self, fault: Fault) -> bool:
        pid = self._busy_child(fault)
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
        return await _thaw_later(pid, fault.seconds)

    def _busy_child(self, fault: Fault) -> int | None:
        """Find a child process of a node: which one, the fault's own time decides."""
        mine = f"{KINDS[fault.target]}-"
        pids = [pid for pid in members(mine) if self._installation.holds(pid)]
        return sorted(pids)[int(fault.at * 100) % len(pids)] if pids else None

    async def _hole(self, fault: Fault) -> bool:
        self._installation.wire("hole", fault.target)
        await asyncio.sleep(fault.seconds)
        self._installation.wire("pass", fault.target)
        return True

    async def _sever(self, fault: Fault) -> bool:
        self._installation.wire("sever", fault.target)
        return True

    async def _deafen(self, fault: Fault) -> bool:
        async with self._receivers.away():
            await asyncio.sleep(fault.seconds)
        return True


async def _thaw_later(pid: int | None, seconds: float) -> bool:
    if pid is None:
        return False
    try:
        await asyncio.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return True
