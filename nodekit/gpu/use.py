"""GpuUse: the leases of one attempt. What the attempt makes counts only while none of them has been lost."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from itertools import count

from nodekit.attempt.progress import ProgressReporter
from nodekit.failure import TaskFailed
from nodekit.gpu.holding import Holding, Phase
from nodekit.gpu.interruption import Interruption
from nodekit.gpu.lease import GpuLease, lost_failure, to_lease
from nodekit.gpu.lease_client import LeaseClient
from nodekit.gpu.lease_scope import LeaseScope
from nodekit.gpu.metrics import WAIT_SECONDS
from nodekit.process.child import Family
from runtime import spans
from yivideo.gpulock.v1 import lock_pb2
from yivideo.task.v1 import task_pb2

_scope: ContextVar[tuple[GpuUse, LeaseScope] | None] = ContextVar("scope", default=None)


class GpuUse:
    """One attempt's use of devices."""

    def __init__(
        self,
        lease_client: LeaseClient,
        spec: task_pb2.TaskSpec,
        attempt: int,
        *,
        declared: bool,
        family: Family,
        emit: Callable[[task_pb2.TaskEvent], None],
        progress: ProgressReporter,
    ) -> None:
        self.lease_client = lease_client
        self._spec = spec
        self._attempt = attempt
        self._declared = declared
        self._family = family
        self._emit = emit
        self._progress = progress
        self._numbers = count()
        self._open: list[GpuLease] = []
        self._fault: TaskFailed | None = None

    def scope(self) -> LeaseScope | None:
        """Return where processes started here and now belong; None: outside every lease of this attempt."""
        found = _scope.get()
        return found[1] if found is not None and found[0] is self else None

    def check(self) -> None:
        """Raise TaskFailed (GPU_LEASE_LOST) when a lease of this attempt was lost, or may be: no result may count then."""
        if self._fault is not None:
            raise self._fault
        for lease in self._open:
            lease.check()

    @asynccontextmanager
    async def gpu(self, request: lock_pb2.Acquire) -> AsyncIterator[GpuLease]:
        """Hold devices for the time of the block; see `TaskContext.gpu`."""
        holding = await self.acquire(request)
        lease = to_lease(holding)
        mark = f"{self._family.mark}gpu-{next(self._numbers)}/"
        scope = LeaseScope(
            mark, lease, self.lease_client.settings, self.lease_client.reaper, self._family.grace_seconds
        )
        try:
            self.bind(holding, scope)
            await self.lease_client.admit(holding, mark)
            with self.working(lease, holding, scope), self._inside(scope):
                yield lease
        except BaseException:
            await self.lease_client.vacate(holding, scope)
            raise
        self.settle(holding, await self.lease_client.vacate(holding, scope))

    async def acquire(self, request: lock_pb2.Acquire) -> Holding | None:
        """Ask for devices on behalf of the task, and show its place in the queue while it waits."""
        if not self._declared:
            raise RuntimeError(f"declare the task: @node.task({self._spec.task_name!r}, gpu=True)")
        if request.memory_mib < 0 or request.device_count < 0 or request.max_wait_seconds < 0:
            raise ValueError("memory_mib, device_count and max_wait_seconds are not negative")
        self.check()
        spec = self._spec
        request.request_id = f"{spec.task_id}:{self._attempt}"
        request.task_id, request.purpose = spec.task_id, spec.task_name
        request.user, request.priority = spec.user or "anonymous", spec.priority
        shown: list[int] = []

        def show(position: int, _: str) -> None:
            if shown[-1:] != [position]:
                shown.append(position)
                waiting = task_pb2.WaitingForGpu(position=position, memory_mib=request.memory_mib)
                self._emit(task_pb2.TaskEvent(waiting_for_gpu=waiting))

        began = time.monotonic()  # the service knows of a request only when it has reached it
        with spans.span("gpu wait", memory_mib=request.memory_mib, devices=request.device_count) as span:
            holding = await self.lease_client.acquire(request, show)
            if span is not None and holding is not None:
                span.attributes["yivideo.device"] = ",".join(
                    device.device for device in holding.lease.devices
                )
        if holding is not None:
            WAIT_SECONDS.observe(time.monotonic() - began)
        if holding is not None and shown:
            names = ", ".join(device.device for device in holding.lease.devices)
            self._progress.report(math.nan, "gpu", f"GPU granted: {names}", None)
        return holding

    def bind(self, holding: Holding | None, scope: LeaseScope) -> None:
        """Have the processes of a place end when the lease is not confirmed in time, whatever becomes of this process."""
        if holding is not None:
            scope.live_until(holding.deadline)
            holding.on_renewed = lambda: scope.live_until(holding.deadline)

    @contextmanager
    def working(self, lease: GpuLease, holding: Holding | None, scope: LeaseScope) -> Iterator[None]:
        """Run the block's work: cancelled when the lease is lost or taken back."""

        def lose() -> None:
            assert holding is not None
            lease.lost.set()
            scope.kill()
            self._fault = self._fault or lost_failure(holding)

        self._open.append(lease)
        try:
            with Interruption(holding, lose):
                yield
        finally:
            self._open.remove(lease)

    def settle(self, holding: Holding | None, code: str) -> None:
        """Judge the answer to a release: a lease that was gone before it was given back has made nothing that counts."""
        if holding is None or not code:
            return
        if holding.phase is not Phase.LOST:
            holding.loss = lock_pb2.Lost(
                request_id=holding.id, message="it had ended before it was given back"
            )
        self._fault = lost_failure(holding)
        raise self._fault

    @contextmanager
    def _inside(self, scope: LeaseScope) -> Iterator[None]:
        outside = _scope.set((self, scope))
        try:
            yield
        finally:
            _scope.reset(outside)
