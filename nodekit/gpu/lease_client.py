"""The lease client of one replica: its attempts ask it for devices, whoever arbitrates them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

from nodekit.gpu.devices import own_devices
from nodekit.gpu.guard import DeviceGuard, default_root
from nodekit.gpu.holding import Holding, Phase
from nodekit.gpu.lease import reason_name
from nodekit.gpu.lease_scope import LeaseScope
from nodekit.gpu.local import LocalLocks
from nodekit.gpu.metrics import LEASES, LOSSES
from nodekit.gpu.orphan_release import to_terms
from nodekit.gpu.session import LockSession
from nodekit.gpu.settings import GpuSection
from nodekit.gpu.transport import LockReplicas, OpenStream
from nodekit.process.child import uninterrupted
from nodekit.process.reaper import Reaper
from runtime.logs import get_logger
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)


class LeaseClient:
    """Asks, admits and gives back. Without a session every lease is a CPU lease: `acquire` returns None."""

    def __init__(
        self,
        settings: GpuSection,
        replica: str,
        reaper: Reaper,
        session: LockSession | None,
        guard: DeviceGuard,
    ) -> None:
        self.settings = settings
        self.replica = replica
        self.reaper = reaper
        self.session = session
        self._guard = guard
        self._numbers = count()

    def mark(self) -> str:
        """Return a new mark for processes that outlive an attempt."""
        return f"{self.replica}/warm-{next(self._numbers)}/"

    async def acquire(
        self,
        request: lock_pb2.Acquire,
        on_queued: Callable[[int, str], None],
    ) -> Holding | None:
        """Ask and wait for the grant; the request gets its id here. Raises TaskFailed when it is refused."""
        if self.session is None:
            return None
        # The end makes it unique among all processes and lives of a task: an id that somebody else holds would be granted to us
        # too.
        suffix = self.replica.rpartition("-")[2]
        request.request_id = f"{request.request_id}:{next(self._numbers)}.{suffix}"
        request.pool = request.pool or self.settings.pool
        request.max_wait_seconds = request.max_wait_seconds or self.settings.max_wait_seconds
        holding = await self.session.acquire(request, on_queued)
        LEASES.inc()
        log.info(
            "GPU lease granted",
            request=holding.id,
            token=holding.token,
            devices=[device.device for device in holding.lease.devices],
            waited_seconds=round(holding.lease.waited_seconds, 3),
        )
        return holding

    async def admit(self, holding: Holding | None, mark: str) -> None:
        """Let the lease in at the device guard, before its first process starts. Raises TaskFailed when it is too old."""
        if holding is not None:
            await self._guard.admit(holding.lease, mark, whole=holding.acquire.memory_mib == 0)

    async def leave(self, holding: Holding) -> None:
        """Tell the device guard that a lease has nothing on its devices any more, or has handed it to a newer lease."""
        await self._guard.leave(holding.lease)

    async def vacate(
        self,
        holding: Holding | None,
        scope: LeaseScope,
        reason: lock_pb2.ReleaseReason.ValueType = lock_pb2.RELEASE_REASON_NORMAL,
    ) -> str:
        """End what runs under a lease, then release it, or confirm it when it was lost; a cancel does not interrupt this.

        Returns the code of a refusal: GPU_LEASE_STALE means that it was gone before. Empty: obeyed, or nobody could be asked.
        """
        answer = ""

        async def leave() -> None:
            nonlocal answer
            await scope.close()
            if holding is not None and self.session is not None:
                answer = await self._give_back(self.session, holding, reason)

        await uninterrupted(leave())
        return answer

    async def _give_back(
        self, session: LockSession, holding: Holding, reason: lock_pb2.ReleaseReason.ValueType
    ) -> str:
        LEASES.dec()
        answer = ""
        if holding.phase is Phase.LOST:
            LOSSES.labels(reason_name(holding.loss.reason)).inc()
            await session.confirm(holding)
        else:
            if holding.stop is not None:
                LOSSES.labels(reason_name(holding.stop.reason)).inc()
                if reason == lock_pb2.RELEASE_REASON_NORMAL:
                    reason = lock_pb2.RELEASE_REASON_STOPPED
            answer = await session.release(holding, reason)
        # Not before: the next holder should not wait for it, and finds nothing of us whether we are still listed or not.
        await self.leave(holding)
        return answer


@asynccontextmanager
async def open_lease_client(
    settings: GpuSection,
    runtime: RuntimeSection,
    node: str,
    replica: str,
    reaper: Reaper,
    locks: OpenStream | None = None,
) -> AsyncIterator[LeaseClient]:
    """Set up a replica's lease client for the time of the block; `locks` is asked in place of what the settings name."""
    guard = DeviceGuard(settings.guard_root or default_root())
    hello = lock_pb2.Hello(client_id=replica, node=node, host=settings.host or socket.gethostname())
    replicas: LockReplicas | None = None
    open_stream = locks
    if open_stream is not None:
        pass
    elif settings.mode != "cpu" and settings.lock:
        replicas = LockReplicas(settings.lock, runtime)
        open_stream = replicas.open
        reaper.release_on_death(to_terms(hello, settings.lock, runtime))
    elif settings.mode != "cpu":
        devices = await asyncio.to_thread(own_devices, settings)
        if devices:
            log.info("GPUs are arbitrated in this process", devices=[device.name for device in devices])
            open_stream = LocalLocks(devices, token_floor=await asyncio.to_thread(guard.highest)).open
    session = None
    if open_stream is not None:
        session = LockSession(
            open_stream,
            hello,
            margin_seconds=settings.margin_seconds,
            unreachable_seconds=settings.unreachable_seconds,
            ledger=reaper if replicas is not None else None,
        )
    try:
        yield LeaseClient(settings, replica, reaper, session, guard)
    finally:
        if session is not None:
            await session.aclose()
        if replicas is not None:
            await replicas.aclose()
