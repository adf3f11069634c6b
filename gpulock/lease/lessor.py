"""The lessor: what may be asked about leases, and what follows. It knows neither gRPC nor Redis's client; its clock is given to it.

Every decision is one script, made by the store at one instant. The lessor asks, hands what came of it to the clients of this
replica (`deliver`), and notices when the store begins a new epoch, because leases must then be reclaimed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from gpulock import metrics
from gpulock.lease import answers
from gpulock.lease.books import keep_book
from gpulock.lease.configuration import LockConfiguration, microseconds
from gpulock.lease.message import Client, ClientMessage, MessageKind
from gpulock.settings import GpulockSection
from gpulock.store.record import Record
from gpulock.store.script_store import Push, Reply, Scripts, exported, text
from leases.ask import Ask
from runtime.errors import NotFound
from runtime.logs import get_logger

log = get_logger(__name__)

_SWEEP_LIMIT = 200


class BootClock(Protocol):
    """Seconds that pass also while the machine sleeps, and never step."""

    def __call__(self) -> float:
        """Return the time."""


def boot_seconds() -> float:
    """Return CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Sweep:
    """What one turn of the sweeper did."""

    dealt: int
    step_seconds: float
    """How far Redis's clock had stepped."""
    full: bool
    """Whether more is due already."""


class Lessor:
    """One replica's view of all leases."""

    def __init__(
        self,
        store: Scripts,
        section: GpulockSection,
        configuration: LockConfiguration,
        *,
        deliver: Callable[[ClientMessage], None],
        on_epoch: Callable[[int, float], None],
        on_due: Callable[[float], None],
        on_queue: Callable[[], None],
        on_forgotten: Callable[[], None] = lambda: None,
        boot_clock: BootClock = boot_seconds,
    ) -> None:
        """Describe what follows from what is asked.

        `deliver` hands a message to a client of this replica; `on_epoch` hears of a new epoch and the seconds left to reclaim;
        `on_due` hears in how many seconds the next deadline is; `on_queue` hears that positions may have changed; `on_forgotten`
        hears that others took this replica for dead, so that its waiters are not served until they attach again.
        """
        self._store = store
        self._section = section
        self.configuration = configuration
        self._longest_ttl_seconds = configuration.ttl_seconds
        self.version = 0
        """Version of the configuration."""
        self._deliver = deliver
        self._on_epoch = on_epoch
        self._on_due = on_due
        self._on_queue = on_queue
        self._on_forgotten = on_forgotten
        self._boot_clock = boot_clock
        self._swept: tuple[int, int, int, float] | None = None
        self.epoch = 0
        self.recovering = False
        self._open_at = 0.0

    @property
    def recovery_seconds(self) -> float:
        """Seconds left to reclaim leases; 0: no recovery is under way."""
        return max(0.0, self._open_at - self._boot_clock()) if self.recovering else 0.0

    # What clients ask ---------------------------------------------------------------------------------------------------

    async def acquire(self, client: Client, ask: Ask, *, again: bool = False) -> ClientMessage | None:
        """Ask for devices; None: what there is to say was delivered.

        `again`: the client does not ask, this replica does for it, and leaves it alone where it has gone on at another one.
        """
        reply = await self._run("acquire", *self._asked(client, ask), "1" if again else "0")
        match reply.outcome:
            case "queued":
                self._on_queue()
                record = exported(reply.results[1])
                position = int(reply.results[2]) if len(reply.results) > 2 else 0
                return answers.message(
                    reply, "queued", client, ask.request_id, record=record, position=position
                )
            case "refused":
                code = text(reply.results[1])
                metrics.REQUESTS.labels(ask.pool if code != "GPU_POOL_UNKNOWN" else "", code).inc()
                return answers.message(reply, "refused", client, ask.request_id, detail=code)
            case "ended":
                return answers.ended(reply, client, ask.request_id)
            case _:
                return None

    async def renew(
        self, client: Client, request_id: str, token: int, *, remind: bool = False
    ) -> ClientMessage:
        """Note a holder's beat. `remind` says again what was asked of it: that may have been lost on its way."""
        reply = await self._run(
            "renew", request_id, token, client.client_id, client.node, "1" if remind else "0"
        )
        if reply.outcome == "renewed":
            metrics.RENEW_SLACK.observe(max(0, int(reply.results[2])) / 1e6)
        metrics.RENEWALS.labels(reply.outcome).inc()
        return answers.held(reply, client, request_id, token)

    async def release(self, client: Client, request_id: str, token: int, reason: str) -> ClientMessage:
        """Take a lease back from its holder."""
        reply = await self._run("release", request_id, token, reason)
        if reply.outcome == "stale":
            return answers.stale(reply, client, request_id)
        if counted := text(reply.results[2]):
            metrics.RELEASES.labels(counted).inc()
            if reply.results[3] == b"0":
                metrics.HOLD_SECONDS.observe(int(reply.results[1]) / 1e6)
        self._on_queue()
        return answers.message(reply, "released", client, request_id, token)

    async def cancel(self, client: Client, request_id: str) -> ClientMessage:
        """Take a request back, whatever became of it meanwhile."""
        reply = await self._run("cancel", request_id, "taken back by its client")
        self._on_queue()
        if reply.outcome == "lost":
            return answers.lost(reply, client, request_id, 0)
        return answers.message(reply, "cancelled", client, request_id)

    async def park(
        self, client: Client, request_id: str, token: int, model: str, memory_mib: int, load_seconds: float
    ) -> ClientMessage:
        """Keep a model on the devices between tasks."""
        load_ms = round(load_seconds * 1000)
        reply = await self._run("park", request_id, token, model, memory_mib, load_ms)
        if reply.outcome == "parked":
            if record := exported(reply.results[1]):
                metrics.HOLD_SECONDS.observe((reply.now_us - record.granted_us) / 1e6)
            return answers.message(reply, "parked", client, request_id, token)
        return answers.held(reply, client, request_id, token)

    async def confirm(self, client: Client, request_id: str, token: int) -> ClientMessage:
        """End the quarantine of a revoked lease."""
        reply = await self._run("confirm", request_id, token)
        if reply.outcome == "stale":
            return answers.stale(reply, client, request_id)
        self._on_queue()
        return answers.message(reply, "confirmed", client, request_id, token)

    async def reclaim(
        self, client: Client, ask: Ask, token: int, devices: list[str], granted_us: int
    ) -> ClientMessage:
        """Put a lease back on record that the store has forgotten."""
        memory = {device.name: ask.memory_mib or device.memory_mib for device in self._section.devices}
        held = ",".join(
            f"{name}:{memory.get(name, 1)}" for name in devices
        )  # the script refuses unknown names
        reply = await self._run("reclaim", *self._asked(client, ask), token, granted_us, held)
        metrics.RECLAIMS.labels(reply.outcome).inc()
        return answers.held(reply, client, ask.request_id, token)

    async def detach(self, client: Client, request_ids: list[str]) -> None:
        """Note that a client's stream is gone while it waited for these."""
        if request_ids:
            await self._run("detach", client.client_id, *request_ids)
            self._on_queue()

    # What operators ask -------------------------------------------------------------------------------------------------

    async def drain_device(self, pool: str, device: str, *, undo: bool, reason: str) -> None:
        """Grant no more of a device, or do again. Raises NotFound."""
        reply = await self._run("drain", pool, device, "1" if undo else "0", reason)
        if reply.outcome == "unknown":
            raise NotFound(f"pool {pool!r} has no device {device!r}")
        self._on_queue()

    async def force_release(self, request_id: str, pool: str, device: str, reason: str) -> list[Record]:
        """Revoke a lease, or every lease of a device; gives what was revoked."""
        reply = await self._run("force", request_id, pool, device, reason)
        self._on_queue()
        return [record for fields in reply.results[0] if (record := exported(fields)) is not None]

    async def status(self, pool: str, waiters: int) -> Reply:
        """Look at everything at one instant; see status.lua."""
        return await self._run("status", pool, waiters)

    async def places(self) -> Reply:
        """Look at who stands where; see places.lua."""
        return await self._run("places")

    async def history(self, pool: str, count: int) -> Reply:
        """Look at what has ended; see history.lua."""
        return await self._run("history", pool, count)

    async def figures(self) -> Reply:
        """Look at what was counted; see figures.lua."""
        return await self._run("figures")

    async def configure(self, configuration: LockConfiguration, version: int) -> None:
        """Bring settings into force; older ones than those in force change nothing."""
        if version >= self.version:
            self.configuration, self.version = configuration, version
            self._longest_ttl_seconds = max(self._longest_ttl_seconds, configuration.ttl_seconds)
        await self._configure()

    # What time asks -----------------------------------------------------------------------------------------------------

    async def sweep(self) -> Sweep:
        """Let time take what is due; the only call that does."""
        before, raw, epoch, at = self._swept or (0, 0, 0, 0.0)
        passed = self._boot_clock() - at if before else 0.0
        reply = await self._run(
            "sweep", before, microseconds(passed), microseconds(self._section.clock_slack_seconds),
            microseconds(self._section.replica_ttl_seconds), _SWEEP_LIMIT, raw, epoch,
        )  # fmt: skip
        self._swept = (reply.now_us, int(reply.results[4]), reply.epoch, self._boot_clock())
        dealt, step = int(reply.results[0]), int(reply.results[1]) / 1e6
        if before and int(reply.results[3]):
            self._on_forgotten()
        for late in reply.results[2]:
            metrics.SWEEP_LAG.observe(int(late) / 1e6)
        if step:
            log.warning("the store's clock has stepped; leases are unaffected", seconds=step)
            metrics.CLOCK_STEPS.inc()
        if dealt:
            self._on_queue()
        return Sweep(dealt, step, dealt >= _SWEEP_LIMIT)

    # How ----------------------------------------------------------------------------------------------------------------

    def take_push(self, push: Push) -> None:
        """Deliver what another replica caused."""
        self._push(push)
        self._keep_books((push,))

    async def _run(self, script: str, *arguments: str | int | float) -> Reply:
        started = time.perf_counter()
        reply = await self._store.run(script, *arguments, on_reply=self._take_reply)
        if reply.results and reply.results[0] == b"unconfigured":
            await self._configure()
            reply = await self._store.run(script, *arguments, on_reply=self._take_reply)
        seconds = time.perf_counter() - started
        metrics.script_seconds(script).observe(seconds)
        return reply

    async def _configure(self) -> None:
        conf = self.configuration.for_scripts(self._section, self.version, self._longest_ttl_seconds)
        devices = self._section.devices
        flat: list[str | int] = []
        for device in devices:
            flat += [device.name, device.pool, device.memory_mib, device.visible or device.name, device.host]
        await self._store.run(
            "configure", self.version, json.dumps(conf), repr(flat), *flat, on_reply=self._take_reply
        )

    def _take_reply(self, reply: Reply) -> None:
        """Deliver what a script brings, first of all: somebody waits for it. Books are kept when it is on its way."""
        if reply.pushes:
            for push in reply.pushes:
                self._push(push)
            asyncio.get_running_loop().call_soon(self._keep_books, reply.pushes)
        if reply.epoch > self.epoch:
            first, self.epoch = self.epoch == 0, reply.epoch
            if reply.recovering:
                left = max(0, reply.open_us - reply.now_us) / 1e6
                self._open_at = self._boot_clock() + left
                log.warning("the store may have lost leases; nothing is granted meanwhile", seconds=left)
                metrics.RECOVERIES.inc()
                self._on_epoch(reply.epoch, left)
            elif not first:
                self._on_epoch(reply.epoch, 0.0)
        if self.recovering and not reply.recovering:
            log.info("leases are granted again")
            self._on_queue()
        if self.recovering != reply.recovering:
            self.recovering = reply.recovering
            metrics.RECOVERING.set(reply.recovering)
        if reply.due_us >= 0:
            self._on_due((reply.due_us - reply.now_us) / 1e6)

    def _push(self, push: Push) -> None:
        record = push.record
        kind: MessageKind = push.kind  # type: ignore[assignment]
        self._deliver(
            ClientMessage(
                kind, record.client_id, record.request_id, record.token, record, push.extra, push.now_us
            )
        )

    def _keep_books(self, pushes: Iterable[Push]) -> None:
        for push in pushes:
            keep_book(push)
            if push.kind == "granted":
                self._on_queue()

    def _asked(self, client: Client, ask: Ask) -> tuple[str | int, ...]:
        wait = ask.max_wait_seconds or self.configuration.gpu_lock.max_wait_time
        return (
            ask.request_id, ask.pool, ask.device, ask.memory_mib, ask.device_count, ask.priority, ask.user, ask.task_id,
            ask.purpose, max(1, microseconds(wait)), "1" if ask.preemptible else "0", ask.warm_request_id,
            client.client_id, client.node, client.host,
        )  # fmt: skip
