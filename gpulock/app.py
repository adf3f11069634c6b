"""The lock service assembled: every part made once, started and stopped in order."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from gpulock import metrics
from gpulock.api.hub import SessionHub
from gpulock.api.positions import PositionNotifier
from gpulock.api.servicer import LockServicer
from gpulock.lease.configuration import LockConfiguration
from gpulock.lease.configuration_store import ConfigurationStore
from gpulock.lease.lessor import Lessor
from gpulock.lease.message import Client, ClientMessage
from gpulock.lease.sweeper import Sweeper
from gpulock.monitor.report import Report
from gpulock.monitor.servicer import MonitorServicer
from gpulock.monitor.statistics import to_figures
from gpulock.monitor.watching import LockWatch
from gpulock.settings import GpulockSettings
from gpulock.store.keys import Keys
from gpulock.store.script_store import SETTING, WHAT, Push, ScriptStore, to_notice
from gpulock.store.tail import Entry, Tail
from redislink.figures import publish_for_ever
from redislink.pipe import Pipe
from redislink.primary import Primary
from redislink.start import await_redis
from runtime.background import background
from runtime.errors import Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.seldom import Seldom
from runtime.server import RpcServer
from runtime.settings import SettingsError
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc, monitor_pb2, monitor_pb2_grpc

log = get_logger(__name__)
seldom = Seldom(log)

LOCK_SERVICE = lock_pb2.DESCRIPTOR.services_by_name["LockService"].full_name
MONITOR_SERVICE = monitor_pb2.DESCRIPTOR.services_by_name["LockMonitor"].full_name
_START_RETRY_SECONDS = 60.0
_STANDSTILL_SECONDS = 5.0
_CATCH_UP_SECONDS = 1.0
_FIGURES_SECONDS = 5.0
_FIGURES_LONGEST_SECONDS = 15.0


class LockReplica:
    """One replica of the lock service. `async with leasing(settings)` makes and runs it."""

    def __init__(
        self, settings: GpulockSettings, draining: asyncio.Event, *, clock_us: Callable[[], int] | None = None
    ) -> None:
        section = settings.gpulock
        self.name = f"gpulock-{uuid.uuid4().hex[:12]}"
        """This replica's own name, new at every start."""
        self.draining = draining
        self.primary = Primary(section.redis_url.get_secret_value(), name=self.name)
        self.pipe = Pipe(self.primary, name=f"{self.name}-scripts")
        self._tail_pipes = [
            Pipe(self.primary, name=f"{self.name}-{what}", timeout_seconds=None)
            for what in ("inbox", "events")
        ]
        self.keys = Keys(section.key_prefix, section.pools)
        self.store = ScriptStore(
            self.pipe, self.keys, replica=self.name, retry_seconds=section.redis_retry_seconds,
            initial_state=section.initial_state, clock_us=clock_us,
        )  # fmt: skip
        self.store.on_messages_lost = self._catch_up_soon
        self.hub = SessionHub(section, self.name, on_unwanted=self._give_back)
        self.sweeper = Sweeper(section)
        own = LockConfiguration(gpu_lock=settings.gpu_lock, gpu_lock_monitor=settings.gpu_lock_monitor)
        self.lessor = Lessor(
            self.store, section, own,
            deliver=self.hub.deliver, on_epoch=self._new_epoch,
            on_due=self.sweeper.expect, on_queue=self._queue_moved, on_forgotten=self._catch_up_soon,
        )  # fmt: skip
        self.positions = PositionNotifier(self.lessor, self.hub, section)
        self.configuration = ConfigurationStore(
            self.store, self.keys, self.lessor, settings, on_change=lambda: self.hub.announce(self.lessor)
        )
        self.report = Report(self.lessor, self.store, self.keys, section)
        self.watch = LockWatch(
            self.store, self.keys, self._tail_pipes[1], heartbeat_seconds=section.watch_heartbeat_seconds
        )
        self._behind = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    def _give_back(self, client: Client, message: ClientMessage) -> None:
        async def give_back() -> None:
            await self.lessor.cancel(client, message.request_id)

        self._in_background(give_back())

    def _queue_moved(self) -> None:
        self.positions.moved()

    def _new_epoch(self, epoch: int, window_seconds: float) -> None:
        self.hub.ask_to_reclaim(epoch, window_seconds)
        self._in_background(self.configuration.follow())
        self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        self._behind.set()

    async def _catch_up(self) -> None:
        """Make good for ever what clients and the store could not tell each other."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            try:
                await self.hub.catch_up(self.lessor)
            except Unavailable:
                await asyncio.sleep(_CATCH_UP_SECONDS)
                self._behind.set()

    def _heard(self, entries: list[Entry]) -> None:
        for _, fields in entries:
            match to_notice(fields[b"m"]):
                case "configured":
                    self._in_background(self.configuration.follow())
                case "queue":
                    self.positions.moved()
                case Push() as push:
                    self.lessor.take_push(push)

    def _placed(self) -> None:
        """Look at once: the store may be another one, or have been restarted."""
        self.sweeper.expect(0.0)
        self._in_background(self.configuration.follow())
        self._catch_up_soon()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_done)

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            seldom.warning("a background call failed", error=str(error))

    async def _send_away(self) -> None:
        await self.draining.wait()
        self.hub.drain()
        self.watch.drain()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LockReplica]:
        """Work for the time of the block. Leases live on without it."""
        await await_redis(lambda: self.pipe.call("PING"), _START_RETRY_SECONDS, WHAT, setting=SETTING)
        await self.store.forget_other_versions()
        await self.configuration.load()
        tail = Tail(
            self._tail_pipes[0], (self.keys.notices, self.keys.inbox(self.name)), self._heard, self._placed
        )
        async with AsyncExitStack() as stack:
            stack.callback(self.primary.end)
            stack.callback(self.pipe.end)
            stack.callback(self._tail_pipes[0].end)
            stack.push_async_callback(self.watch.aclose)
            for what, work in (
                ("search for the primary", self.primary.follow()),
                ("inbox", tail.run()),
                ("sweeper", self.sweeper.run(self.lessor)),
                ("positions", self.positions.run()),
                ("catching up", self._catch_up()),
                ("settings file", self.configuration.watch_file()),
                ("drain", self._send_away()),
                ("figures", self._publish_figures()),
                ("figures of the store", publish_for_ever(lambda: self.pipe.call("INFO"), "leases")),
            ):
                await stack.enter_async_context(background(what, work))
            try:
                yield self
            finally:
                for task in list(self._background):
                    task.cancel()

    def is_keeping_up(self) -> bool:
        """Whether the sweeper finishes its turns; while Redis is away it cannot, and calls would wait for it in vain."""
        limit = self.sweeper.longest_wait(self.lessor) + _STANDSTILL_SECONDS
        return time.monotonic() - self.sweeper.turn_time < limit

    async def _publish_figures(self) -> None:
        """Keep the gauges of the installation true: soon after something has moved here, and now and then in any case."""
        seen, waited = -1, 0.0
        while True:
            if self.positions.changes != seen or waited >= _FIGURES_LONGEST_SECONDS:
                seen, waited = self.positions.changes, 0.0
                with suppress(YiVideoError):
                    await publish(self.report)
            await asyncio.sleep(_FIGURES_SECONDS)
            waited += _FIGURES_SECONDS


async def publish(report: Report) -> None:
    """Set the gauges to what is the case now."""
    status = await report.status("")
    held: dict[tuple[str, str], int] = {}
    age: dict[str, float] = {}
    states = {1: "held", 2: "parked", 3: "stopping", 4: "quarantined"}
    for holder in status.holders:
        key = (holder.lease.pool, states[holder.state])
        held[key] = held.get(key, 0) + 1
        if not holder.model and holder.state != monitor_pb2.HOLDER_STATE_QUARANTINED:
            age[holder.lease.pool] = max(age.get(holder.lease.pool, 0.0), holder.held_seconds)
    pools = {device.pool for device in status.devices}
    waiting: dict[str, int] = {}
    for waiter in status.waiters:
        waiting[waiter.pool] = waiting.get(waiter.pool, 0) + 1
    if status.waiter_count > len(status.waiters):  # it names not all of them
        waiting = {pool: (await report.snapshot(pool)).waiter_count for pool in pools}
    for device in status.devices:
        for kind, mib in (
            ("capacity", device.memory_mib),
            ("leased", device.leased_mib),
            ("quarantined", device.quarantined_mib),
        ):
            metrics.UNITS.labels(device.pool, device.device, kind).set(mib)
    stored = await report.figures()
    for pool in pools:
        figures = to_figures(stored, pool)
        for outcome in ("granted", "timeouts", "refused", "cancelled"):
            metrics.OUTCOMES.labels(pool, outcome).set(figures.counts[outcome])
        for reason, count in ({"heartbeat": 0} | figures.releases).items():
            metrics.ENDINGS.labels(pool, reason).set(count)
        metrics.WAITERS.labels(pool).set(waiting.get(pool, 0))
        metrics.AGE.labels(pool).set(age.get(pool, 0.0))
        for state in states.values():
            metrics.HELD.labels(pool, state).set(held.get((pool, state), 0))


@asynccontextmanager
async def leasing(settings: GpulockSettings) -> AsyncIterator[tuple[LockReplica, RpcServer, str]]:
    """Run a replica and its gRPC server for the time of the block; gives both and the address."""
    if not settings.gpulock.devices:
        raise SettingsError("settings: gpulock.devices: name at least one device")
    server = RpcServer(settings.runtime)
    replica = LockReplica(settings, server.draining)
    server.add(
        lock_pb2_grpc.add_LockServiceServicer_to_server,
        LockServicer(replica.lessor, replica.hub),
        LOCK_SERVICE,
    )
    server.add(
        monitor_pb2_grpc.add_LockMonitorServicer_to_server,
        MonitorServicer(replica.lessor, replica.report, replica.watch, replica.configuration),
        MONITOR_SERVICE,
    )
    async with (
        replica.running(),
        server.running() as address,
        background("health", server.report_health((LOCK_SERVICE, MONITOR_SERVICE), replica.is_keeping_up)),
    ):
        yield replica, server, address
