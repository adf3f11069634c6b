"""What monitors are shown: the store's records in the shape of the contract."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from gpulock.api.positions import Places
from gpulock.api.presenter import Presenter, from_microseconds
from gpulock.lease.configuration import LockConfiguration
from gpulock.lease.lessor import Lessor
from gpulock.monitor.health import Present, judge
from gpulock.monitor.statistics import Figures, pairs, to_figures
from gpulock.settings import GpulockSection
from gpulock.store.keys import Keys
from gpulock.store.record import Record, to_record
from gpulock.store.script_store import Reply, ScriptStore, exported, text
from runtime import VERSION
from runtime.errors import NotFound
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2

_MOST_WAITERS = 1000
_LEVELS = {"warning": monitor_pb2.HEALTH_LEVEL_WARNING, "critical": monitor_pb2.HEALTH_LEVEL_CRITICAL}


@dataclass(frozen=True)
class Snapshot:
    """Everything at one instant."""

    reply: Reply
    leases: list[Record]
    """Revoked ones too, oldest first."""
    waiters: list[Record]
    waiter_count: int

    def oldest(self) -> Record | None:
        """Return the oldest lease under which work runs."""
        working = [lease for lease in self.leases if lease.state == "G" and not lease.parked]
        return working[0] if working else None


class Report:
    """Reads the store for monitors."""

    def __init__(self, lessor: Lessor, store: ScriptStore, keys: Keys, section: GpulockSection) -> None:
        self._lessor = lessor
        self._store = store
        self._keys = keys
        self._section = section
        self._presenter = Presenter(section.devices)

    def check_pool(self, pool: str) -> None:
        """Raise NotFound when a pool is named that has no devices."""
        if pool and pool not in self._section.pools:
            raise NotFound(f"there is no pool {pool!r}")

    async def snapshot(self, pool: str, waiters: int = 0) -> Snapshot:
        """Look once."""
        self.check_pool(pool)
        reply = await self._lessor.status(pool, waiters)
        leases = [record for fields in reply.results[1] if (record := exported(fields)) is not None]
        leases.sort(key=lambda record: record.granted_us)
        waiting = [record for fields in reply.results[2] if (record := exported(fields)) is not None]
        return Snapshot(reply, leases, waiting, int(reply.results[3]))

    async def status(self, pool: str) -> monitor_pb2.GetStatusResponse:
        """Describe devices, holders and waiters."""
        found = await self.snapshot(pool, _MOST_WAITERS)
        now = found.reply.now_us
        answer = monitor_pb2.GetStatusResponse(
            waiter_count=found.waiter_count,
            recovering=found.reply.recovering,
            epoch=found.reply.epoch,
            time=from_microseconds(now),
            version=VERSION,
        )
        for fields in found.reply.results[0]:
            answer.devices.append(_to_device(fields))
        holders: dict[str, list[tuple[str, str]]] = {}
        for lease in found.leases:
            answer.holders.append(self._holder(lease, now))
            for device, _ in lease.devices:
                holders.setdefault(lease.pool, []).append((device, lease.holder))
        drained = [(device.pool, device.device) for device in answer.devices if device.draining]
        places = Places({}, holders, drained, found.reply.recovering)
        position: dict[str, int] = {}
        for record in found.waiters:
            position[record.pool] = position.get(record.pool, 0) + 1
            if len(answer.waiters) < _MOST_WAITERS:
                answer.waiters.append(_to_waiter(record, position[record.pool], now, places.reason(record)))
        return answer

    def _holder(self, record: Record, now_us: int) -> monitor_pb2.Holder:
        if record.state == "X":
            state = monitor_pb2.HOLDER_STATE_QUARANTINED
        elif record.stop:
            state = monitor_pb2.HOLDER_STATE_STOPPING
        elif record.parked:
            state = monitor_pb2.HOLDER_STATE_PARKED
        else:
            state = monitor_pb2.HOLDER_STATE_HELD
        return monitor_pb2.Holder(
            lease=self._presenter.to_lease(record, now_us),
            state=state,
            task_id=record.task_id,
            purpose=record.purpose,
            user=record.user,
            client_id=record.client_id,
            node=record.node,
            priority=record.priority,
            preemptible=record.preemptible,
            model=record.model,
            held_seconds=max(0, now_us - record.granted_us) / 1e6,
            beat_time=from_microseconds(record.beat_us),
        )

    async def device(self, pool: str, name: str) -> monitor_pb2.Device:
        """Describe one device."""
        reply = await self._lessor.status(pool, 0)
        for fields in reply.results[0]:
            if text(fields[0]) == name:
                return _to_device(fields)
        raise NotFound(f"pool {pool!r} has no device {name!r}")

    def leases(self, records: list[Record], now_us: int) -> list[lock_pb2.Lease]:
        """Describe leases."""
        return [self._presenter.to_lease(record, now_us) for record in records]

    async def figures(self) -> dict[str, str]:
        """Return every stored figure by its name."""
        return pairs((await self._lessor.figures()).results[0])

    async def statistics(self, pool: str) -> monitor_pb2.Statistics:
        """Sum up."""
        found = await self.snapshot(pool)
        return self._statistics(to_figures(await self.figures(), pool), found)

    def _statistics(self, figures: Figures, found: Snapshot) -> monitor_pb2.Statistics:
        counts = figures.counts
        window = self._lessor.configuration.gpu_lock_monitor.health_thresholds.recent_window_size
        recent = figures.recent_outcomes(window)
        answer = monitor_pb2.Statistics(
            total_attempts=figures.attempts,
            successful_acquisitions=counts["granted"],
            timeouts=counts["timeouts"],
            cancelled=counts["cancelled"],
            refused=counts["refused"],
            average_wait_seconds=_mean(counts["wait_us"], counts["granted"]),
            average_hold_seconds=_mean(counts["hold_us"], counts["ended"]),
            total_hold_seconds=counts["hold_us"] / 1e6,
            ended_leases=counts["ended"],
            last_holder=figures.last_holder,
            recent_successes=recent.count("1"),
            recent_attempts=len(recent),
            pushed_grants=counts["granted"],
            releases=dict(figures.releases),
            revocations=counts["revocations"],
            stale_messages=counts["stale"],
            warm_hits=counts["warm_hits"],
            evictions=counts["evictions"],
            load_seconds_saved=counts["saved_ms"] / 1000,
            waiters=found.waiter_count,
            leases=sum(lease.state == "G" for lease in found.leases),
        )
        if figures.last_grant_us:
            answer.last_grant_time.CopyFrom(from_microseconds(figures.last_grant_us))
        return answer

    async def history(self, pool: str, count: int) -> list[monitor_pb2.HistoryRecord]:
        """List ended waits and leases, newest first."""
        self.check_pool(pool)
        reply = await self._lessor.history(pool, count)
        return [
            _to_history(to_record(fields), success == b"1", text(reason), int(ended))
            for fields, success, reason, ended in reply.results[0]
        ]

    async def health(self, pool: str) -> monitor_pb2.GetHealthResponse:
        """Judge the figures."""
        found = await self.snapshot(pool)
        stored = await self.figures()
        figures = to_figures(stored, pool)
        monitor = self._lessor.configuration.gpu_lock_monitor
        present = self._present(found, stored, self._lessor.configuration)
        answer = monitor_pb2.GetHealthResponse(
            level=monitor_pb2.HEALTH_LEVEL_HEALTHY,
            statistics=self._statistics(figures, found),
            oldest_lease_seconds=present.oldest_lease_seconds,
            oldest_holder=present.oldest_holder,
        )
        for issue in judge(figures, present, monitor.health_thresholds):
            answer.issues.add(
                rule=issue.rule,
                level=_LEVELS[issue.level],
                message=issue.message,
                value=issue.value,
                threshold=issue.threshold,
            )
            answer.level = max(answer.level, _LEVELS[issue.level])
        return answer

    def _present(self, found: Snapshot, stored: dict[str, str], configuration: LockConfiguration) -> Present:
        now, oldest = found.reply.now_us, found.oldest()
        kept = [now - lease.expires_us for lease in found.leases if lease.state == "X"]
        checked = int(stored.get("|check_time", "0"))
        return Present(
            oldest_lease_seconds=(now - oldest.granted_us) / 1e6 if oldest else 0.0,
            oldest_holder=oldest.holder if oldest else "",
            oldest_quarantine_seconds=max([0, *kept]) / 1e6,
            seconds_since_check=(now - checked) / 1e6 if checked else 0.0,
            check_limit_seconds=2
            * max(configuration.gpu_lock_monitor.monitor_interval, self._section.replica_ttl_seconds),
            watching=configuration.gpu_lock_monitor.enabled,
        )

    async def watcher(self) -> monitor_pb2.Watcher:
        """Describe the watcher over holders."""
        stored = await self.figures()

        def number(name: str) -> int:
            return int(stored.get(f"|{name}", "0"))

        answer = monitor_pb2.Watcher(
            running=self._lessor.configuration.gpu_lock_monitor.enabled,
            checks=number("checks"),
            unhealthy_checks=number("unhealthy_checks"),
            warnings=number("warnings"),
            soft_timeouts=number("soft_timeouts"),
            hard_timeouts=number("hard_timeouts"),
            heartbeat_timeouts=number("heartbeat_timeouts"),
            recoveries=number("recoveries"),
            last_error=stored.get("|last_error", ""),
        )
        for at, request_id, task_id, devices in orjson.loads(stored.get("|given_warnings", "[]")):
            given = answer.given_warnings.add(request_id=request_id, task_id=task_id)
            given.devices.extend(part.rpartition(":")[0] for part in devices.split(",") if part)
            given.time.CopyFrom(from_microseconds(int(at)))
        for name, stamp in (
            ("start_time", answer.start_time),
            ("check_time", answer.check_time),
            ("recovery_time", answer.recovery_time),
        ):
            if number(name):
                stamp.CopyFrom(from_microseconds(number(name)))
        return answer


def _mean(total_us: int, count: int) -> float:
    return total_us / 1e6 / count if count else 0.0


def _to_device(fields: list[bytes]) -> monitor_pb2.Device:
    name, pool, mib, visible, host, leased, quarantined, draining = (text(field) for field in fields)
    return monitor_pb2.Device(
        device=name,
        pool=pool,
        host=host,
        visible=visible,
        memory_mib=int(mib),
        leased_mib=int(leased),
        quarantined_mib=int(quarantined),
        draining=draining == "1",
    )


def _to_waiter(record: Record, position: int, now_us: int, reason: str) -> monitor_pb2.Waiter:
    return monitor_pb2.Waiter(
        request_id=record.request_id,
        position=position,
        pool=record.pool,
        device=record.device,
        memory_mib=record.memory_mib,
        device_count=record.device_count,
        priority=record.priority,
        user=record.user,
        task_id=record.task_id,
        purpose=record.purpose,
        client_id=record.client_id,
        waited_seconds=max(0, now_us - record.asked_us) / 1e6,
        reason=reason,
    )


def _to_history(record: Record, success: bool, reason: str, ended_us: int) -> monitor_pb2.HistoryRecord:
    answer = monitor_pb2.HistoryRecord(
        request_id=record.request_id,
        task_id=record.task_id,
        purpose=record.purpose,
        user=record.user,
        pool=record.pool,
        devices=[name for name, _ in record.devices],
        token=record.token,
        success=success,
        reason=reason,
        detail=record.detail,
        ask_time=from_microseconds(record.asked_us),
        end_time=from_microseconds(ended_us),
    )
    if record.granted_us:
        answer.grant_time.CopyFrom(from_microseconds(record.granted_us))
    return answer
