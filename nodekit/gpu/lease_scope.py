"""LeaseScope: where the processes of one lease live: they see its devices, are found by their mark, and end with it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import MappingProxyType

from nodekit.gpu.lease import GpuLease
from nodekit.gpu.settings import GpuSection
from nodekit.process.child import Family, end_tree
from nodekit.process.reaper import Reaper
from nodekit.process.worker import WorkerPool


class LeaseScope:
    """A family and a worker pool with a lease's environment, under one mark."""

    def __init__(
        self,
        mark: str,
        lease: GpuLease,
        settings: GpuSection,
        reaper: Reaper,
        grace_seconds: float,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.mark = mark
        environment = {**variables, **to_environment(lease, settings)}
        self.family = Family(mark, grace_seconds, environment)
        self.workers = WorkerPool(f"{mark}worker-", idle_seconds=3600, environment=environment)
        self._reaper = reaper
        self._killing: asyncio.Task[None] | None = None

    def live_until(self, boot_seconds: float) -> None:
        """Have the reaper end every process here at that time, unless it is told another before."""
        if math.isfinite(boot_seconds):
            self._reaper.end_at(self.mark, boot_seconds)

    def kill(self) -> None:
        """Begin to kill every process here."""
        self.family.grace_seconds = 0
        if self._killing is None:
            self._killing = asyncio.create_task(end_tree(self.mark, (), 0))

    async def killed(self) -> None:
        """Wait until what was to be killed is gone."""
        if self._killing is not None:
            await self._killing

    async def close(self) -> None:
        """End every process here and return when none is left."""
        await self.killed()
        await self.workers.aclose()
        if self.family.living or self.workers.has_started:
            await end_tree(self.mark, (), self.family.grace_seconds)
        self._reaper.spare(self.mark)


def to_environment(lease: GpuLease, settings: GpuSection) -> dict[str, str]:
    """Return the variables by which a process sees the lease's devices, and only those."""
    return {
        settings.visible_variable: ",".join(device.visible for device in lease.devices),
        settings.memory_variable: str(lease.memory_mib),
    }
