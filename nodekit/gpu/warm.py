"""Warm models: stay loaded between tasks, on a device under a parked lease that gives way to whoever needs the memory.

A task finds its model warm when the replica still has it: the task's request takes the parked lease over without a gap. One that
comes while another task uses the model waits in the service's queue with the rest, and takes the lease over in its turn. When the
service asks a parked lease to yield, the model's process ends and the lease is released.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from nodekit.gpu.holding import Holding, Phase
from nodekit.gpu.lease import GpuLease, to_lease
from nodekit.gpu.lease_client import LeaseClient
from nodekit.gpu.lease_scope import LeaseScope
from nodekit.gpu.metrics import LEASES, WARM_MODELS, WARM_STARTS, model_label
from nodekit.gpu.resident import Resident
from nodekit.gpu.use import GpuUse
from nodekit.process.child import uninterrupted
from nodekit.process.worker import NO_WEAR, Wear, function_name
from runtime import spans
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)


class WarmModel:
    """A loaded model, for the time of the block."""

    def __init__(self, resident: Resident, lease: GpuLease, *, warm: bool) -> None:
        self._resident = resident
        self.lease = lease
        """The lease that it runs under."""
        self.warm = warm
        """Whether it was loaded already."""

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the module-level `function(model, *args, **kwargs)` in the model's process; raises what it raises."""
        self.lease.check()
        with spans.span(f"model {function_name(function)}", model=self._resident.key):
            return await self._resident.run(function, args, kwargs)

    async def stream(
        self, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """Give what the module-level generator `function(model, *args, **kwargs)` yields, as it yields it; raises what it raises.

        The function is at most some two megabytes of items ahead of the loop that reads it. Leaving the loop early ends the
        model's process, since nothing else can stop a function in the middle.
        """
        self.lease.check()
        # Not as a block: what is read between two items is no part of it.
        span = spans.begin(f"model {function_name(function)}", model=self._resident.key)
        error = ""
        try:
            async with aclosing(self._resident.stream(function, args, kwargs)) as items:
                async for item in items:
                    yield item
        except BaseException as raised:
            error = spans.code_of(raised)
            raise
        finally:
            if span is not None:
                span.end(error)

    @property
    def load_seconds(self) -> float:
        """How long loading took, whenever that was."""
        return self._resident.load_seconds


@dataclass(eq=False)
class _Want:
    """A task that waits for a lease, and the model whose lease it would take over."""

    key: str
    request: lock_pb2.Acquire | None
    """What it asks for; None: nothing, since it runs on the processor."""
    resident: Resident | None = None

    @property
    def settled(self) -> bool:
        """Whether that lease was parked, so that the service may have handed it on already: no other can be wanted then."""
        holding = self.resident.holding if self.resident is not None else None
        return (
            self.request is not None
            and holding is not None
            and holding.parking is not None
            and holding.id == self.request.warm_request_id
        )


class WarmShelf:
    """The models of one replica: on the shelf those that no task uses now, at most `max_warm`."""

    def __init__(
        self,
        lease_client: LeaseClient,
        environment: Mapping[str, str] = MappingProxyType({}),
        wear: Wear = NO_WEAR,
    ) -> None:
        self._lease_client = lease_client
        self._environment = environment
        self._wear = wear
        self._max_warm = lease_client.settings.max_warm
        self._shelf: dict[Resident, asyncio.TimerHandle] = {}
        self._in_use: set[Resident] = set()
        self._wants: set[_Want] = set()
        self._leaving: set[asyncio.Task[str]] = set()

    @property
    def loaded(self) -> list[str]:
        """Keys of the models that are loaded, each once: on the shelf or in a task's hands."""
        return sorted({resident.key for resident in (*self._shelf, *self._in_use)})

    @asynccontextmanager
    async def warm(
        self, use: GpuUse, key: str, load: Callable[[], Any], request: lock_pb2.Acquire | None
    ) -> AsyncIterator[WarmModel]:
        """Hold a loaded model for the time of the block; see `TaskContext.warm`."""
        resident, lease, warm = await self._ready(use, key, load, request)
        try:
            with use.working(lease, resident.holding, resident.scope):
                yield WarmModel(resident, lease, warm=warm)
        except BaseException:
            await self._put_back(resident)
            raise
        use.settle(resident.holding, await self._put_back(resident))

    async def _ready(
        self, use: GpuUse, key: str, load: Callable[[], Any], request: lock_pb2.Acquire | None
    ) -> tuple[Resident, GpuLease, bool]:
        want = _Want(key, request)
        holding = await self._acquire(use, want)
        lease = to_lease(holding)
        found = want.resident if holding is None or holding.lease.warm else None
        if found is not None and found.ending is None and await self._take_over(use, found, holding):
            WARM_STARTS.labels(model_label(key), "yes").inc()
            return found, lease, True
        WARM_STARTS.labels(model_label(key), "no").inc()
        scope = LeaseScope(
            self._lease_client.mark(),
            lease,
            self._lease_client.settings,
            self._lease_client.reaper,
            0,
            self._environment,
        )
        resident = Resident(key, holding, scope)
        self._begin_use(resident)
        try:
            use.bind(holding, scope)
            if found is not None and found.ending is not None:
                await asyncio.shield(found.ending)  # it was unloaded when the service had handed its lease on
            await self._lease_client.admit(holding, scope.mark)
            with use.working(lease, holding, scope), spans.span("load model", model=key):
                await resident.load(load)
        except BaseException:
            await self._finish(resident)
            raise
        log.info("model loaded", model=key, seconds=round(resident.load_seconds, 3))
        return resident, lease, False

    async def _acquire(self, use: GpuUse, want: _Want) -> Holding | None:
        """Ask for a lease: that of a model which is on the shelf or in use, where there is one like it."""
        for resident in list(self._shelf):
            if not resident.usable:
                self._dismiss(resident)
        for resident in (*self._in_use, *self._shelf):
            self._point(want, resident)
        self._wants.add(want)
        try:
            return await use.acquire(want.request) if want.request is not None else None
        finally:
            self._wants.discard(want)

    def _point(self, want: _Want, resident: Resident) -> None:
        """Have a request want the lease of a model, if it is one like it."""
        holding = resident.holding
        if holding is None:  # on the processor: nobody waits, so it must be free now
            if want.key == resident.key and resident in self._shelf:
                want.resident = resident
            return
        if want.request is None:
            return
        alike = (want.key, want.request.memory_mib) == (resident.key, holding.acquire.memory_mib)
        if alike and not want.settled and want.request.warm_request_id != holding.id:
            want.resident = resident
            want.request.warm_request_id = holding.id
            assert self._lease_client.session is not None
            self._lease_client.session.repeat(want.request)

    def _begin_use(self, resident: Resident) -> None:
        """A task has a model under a new lease: those that wait for one like it want that."""
        self._in_use.add(resident)
        self._offer(resident)

    def _offer(self, resident: Resident) -> None:
        for want in self._wants:
            self._point(want, resident)

    def _unshelve(self, resident: Resident) -> None:
        timer = self._shelf.pop(resident, None)
        if timer is not None:
            timer.cancel()
        WARM_MODELS.set(len(self._shelf))

    async def _take_over(self, use: GpuUse, found: Resident, holding: Holding | None) -> bool:
        """Move a model under its task's lease. False: its process has died, and the lease needs a new one."""
        self._unshelve(found)
        old, found.holding = found.holding, holding
        if old is not None:
            LEASES.dec()
        self._begin_use(found)
        use.bind(holding, found.scope)
        try:
            await self._lease_client.admit(holding, found.scope.mark)
            if old is not None:
                await self._lease_client.leave(old)
            if not found.usable:
                self._in_use.discard(found)
                await found.end()
                return False
        except BaseException:
            await self._finish(found)
            raise
        return True

    async def _put_back(self, resident: Resident) -> str:
        """Keep a model that can be used again and end any other; a cancel does not interrupt this.

        Returns the code with which the service has refused the last message about the lease; empty: none.
        """
        code = ""

        async def put_back() -> None:
            nonlocal code
            code = await self._keep(resident)

        await uninterrupted(put_back())
        return code

    async def _keep(self, resident: Resident) -> str:
        holding = resident.holding
        self._in_use.discard(resident)
        gone = holding is not None and (holding.phase is not Phase.HELD or holding.stop is not None)
        over = gone or resident.ending is not None or not resident.usable or resident.worn(self._wear)
        if over or self._max_warm == 0:
            return await self._leave(resident)
        while len(self._shelf) >= self._max_warm:
            await self._leave(min(self._shelf, key=lambda one: one.used_time))
        resident.used_time = time.monotonic()
        self._shelf[resident] = asyncio.get_running_loop().call_later(
            self._lease_client.settings.warm_idle_seconds, self._dismiss, resident
        )
        WARM_MODELS.set(len(self._shelf))
        if holding is None or self._lease_client.session is None:
            return ""
        holding.on_stop = lambda: self._dismiss(resident, lock_pb2.RELEASE_REASON_YIELDED)
        holding.on_lost = lambda: self._dismiss(resident)
        if holding.phase is not Phase.HELD or holding.stop is not None:  # while another model was unloaded
            return await self._leave(resident)
        # Before it is parked: the service must not have it unloaded for somebody who wants it.
        self._offer(resident)
        refused = await self._lease_client.session.park(holding, resident.key, resident.load_seconds)
        if refused:
            await self._leave(resident)
        return refused

    def _dismiss(
        self,
        resident: Resident,
        reason: lock_pb2.ReleaseReason.ValueType = lock_pb2.RELEASE_REASON_NORMAL,
    ) -> None:
        """Begin to end a model, once."""
        if resident.ending is None:
            self._unshelve(resident)
            self._in_use.discard(resident)
            log.info("model unloaded", model=resident.key, reason=lock_pb2.ReleaseReason.Name(reason))
            resident.ending = asyncio.create_task(self._end(resident, reason))
            self._leaving.add(resident.ending)
            resident.ending.add_done_callback(self._leaving.discard)

    async def _leave(self, resident: Resident) -> str:
        """End a model and wait until it is gone; returns the code of a refused release."""
        self._dismiss(resident)
        assert resident.ending is not None
        return await asyncio.shield(resident.ending)

    async def _finish(self, resident: Resident) -> None:
        async def finish() -> None:
            await self._leave(resident)

        await uninterrupted(finish())

    async def _end(self, resident: Resident, reason: lock_pb2.ReleaseReason.ValueType) -> str:
        await resident.end()
        return await self._lease_client.vacate(resident.holding, resident.scope, reason)

    async def aclose(self) -> None:
        """End every model; for a replica that goes down."""
        for resident in list(self._shelf):
            self._dismiss(resident)
        await asyncio.gather(*self._leaving)
