"""Shows GPU locks to REST clients in the shapes of the first YiVideo. Nothing here calls anybody."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.monitoring.answers import lock_figures
from gateway.monitoring.answers import locks as answers
from runtime.errors import NotFound
from yivideo.gpulock.v1 import monitor_pb2 as pb

LOCK_KEY_PREFIX = "gpu_lock:"
KEPT_RECORDS = 100

LEVEL = {
    pb.HEALTH_LEVEL_UNSPECIFIED: "healthy",
    pb.HEALTH_LEVEL_HEALTHY: "healthy",
    pb.HEALTH_LEVEL_WARNING: "warning",
    pb.HEALTH_LEVEL_CRITICAL: "critical",
}

_WORKING = frozenset({pb.HOLDER_STATE_HELD, pb.HOLDER_STATE_STOPPING, pb.HOLDER_STATE_QUARANTINED})


def unix(value: Timestamp) -> float:
    """Return a timestamp as Unix seconds, to the millisecond."""
    return round(value.seconds + value.nanos / 1e9, 3)


def optional_unix(message: Message, field: str) -> float | None:
    """Return a timestamp field as Unix seconds; None when it is not set."""
    return unix(getattr(message, field)) if message.HasField(field) else None


def lock_key(*devices: str) -> str:
    """Return the name of a device's lock."""
    return ",".join(LOCK_KEY_PREFIX + device for device in devices)


def named_device(status: pb.GetStatusResponse, key: str) -> pb.Device:
    """Return the device that a lock key means: by its name, or by what processes see it as (`gpu_lock:0`).

    An empty key means the first device. Raises NotFound.
    """
    name = key.removeprefix(LOCK_KEY_PREFIX)
    for device in status.devices:
        if name in ("", device.device):
            return device
    for device in status.devices:
        if name == device.visible:
            return device
    raise NotFound(f"no device has the lock {key!r}" if key else "this installation has no device")


def works(holder: pb.Holder) -> bool:
    """Whether work may run under a lease; an idle model gives way."""
    return holder.state in _WORKING


def who(holder: pb.Holder) -> str:
    """Return the task of a lease, or else its request."""
    return holder.task_id or holder.lease.request_id


def share(part: int, whole: int, of_none: float) -> float:
    """Return a share, and what stands for it while there is nothing to share."""
    return round(part / whole, 4) if whole else of_none


def statistics(found: pb.Statistics, *, history_size: int, pushing: bool) -> lock_figures.LockStatistics:
    """Show the figures."""
    judged = found.total_attempts - found.cancelled
    granted = found.successful_acquisitions
    releases = dict(found.releases)
    return lock_figures.LockStatistics(
        total_attempts=found.total_attempts,
        successful_acquisitions=granted,
        timeouts=found.timeouts,
        cancelled=found.cancelled,
        refused=found.refused,
        average_wait_time=round(found.average_wait_seconds, 6),
        last_lock_time=optional_unix(found, "last_grant_time"),
        last_lock_holder=found.last_holder or None,
        total_execution_time=round(found.total_hold_seconds, 3),
        execution_count=found.ended_leases,
        average_execution_time=round(found.average_hold_seconds, 3),
        success_rate=share(granted, judged, 1.0),
        timeout_rate=share(found.timeouts, judged, 0.0),
        recent_success_rate=share(found.recent_successes, found.recent_attempts, 1.0),
        recent_attempts=found.recent_attempts,
        history_size=history_size,
        event_driven_acquisitions=found.pushed_grants,
        polling_acquisitions=granted - found.pushed_grants,
        event_driven_rate=share(found.pushed_grants, granted, 1.0),
        polling_rate=share(granted - found.pushed_grants, granted, 0.0),
        pub_sub_available=pushing,
        active_waiters=found.waiters,
        pub_sub_subscriptions=found.waiters,
        leases=found.leases,
        releases=dict(sorted(releases.items())),
        revocations=found.revocations,
        warm_hits=found.warm_hits,
        evictions=found.evictions,
        load_seconds_saved=round(found.load_seconds_saved, 3),
        exception_stats=lock_figures.ExceptionStats(
            normal_release_failures=releases.get("heartbeat", 0) + releases.get("hard_timeout", 0),
            emergency_releases=releases.get("forced", 0),
            release_script_errors=0,
            ownership_violations=found.stale_messages,
        ),
    )


def alert(issue: pb.HealthIssue) -> lock_figures.LockAlert:
    """Show a broken rule."""
    return lock_figures.LockAlert(
        rule=issue.rule,
        level=LEVEL[issue.level],
        message=issue.message,
        value=round(issue.value, 4),
        threshold=issue.threshold,
    )


def issue_lines(found: pb.GetHealthResponse) -> list[str]:
    """Say what is wrong, a line each."""
    return [f"{issue.rule}: {issue.message}" for issue in found.issues]


def health(
    found: pb.GetHealthResponse, figures: lock_figures.LockStatistics, now: float
) -> lock_figures.LockHealth:
    """Show the figures judged."""
    return lock_figures.LockHealth(
        status=LEVEL[found.level],
        issues=issue_lines(found),
        alerts=[alert(issue) for issue in found.issues],
        lock_age=round(found.oldest_lease_seconds, 3),
        last_lock_holder=figures.last_lock_holder,
        statistics=figures,
        timestamp=now,
    )


def record(found: pb.HistoryRecord) -> answers.LockRecord:
    """Show an ended lease or wait."""
    asked, ended = unix(found.ask_time), unix(found.end_time)
    granted = optional_unix(found, "grant_time")
    start = asked if granted is None else granted
    return answers.LockRecord(
        task_name=found.purpose or found.task_id or found.request_id,
        lock_key=lock_key(*found.devices),
        success=found.success,
        start_time=start,
        end_time=ended,
        duration=round(max(0.0, ended - start), 3),
        request_id=found.request_id,
        task_id=found.task_id,
        user=found.user,
        token=found.token,
        reason=found.reason,
        detail=found.detail,
        wait_seconds=round(max(0.0, (ended if granted is None else granted) - asked), 3),
    )


def holder(found: pb.Holder) -> answers.HolderInfo:
    """Show a lease."""
    return answers.HolderInfo(
        request_id=found.lease.request_id,
        task_id=found.task_id,
        purpose=found.purpose,
        user=found.user,
        node=found.node,
        client_id=found.client_id,
        state=pb.HolderState.Name(found.state).removeprefix("HOLDER_STATE_").lower(),
        devices={device.device: device.memory_mib for device in found.lease.devices},
        token=found.lease.token,
        priority=found.priority,
        preemptible=found.preemptible,
        model=found.model,
        held_seconds=round(found.held_seconds, 3),
        waited_seconds=round(found.lease.waited_seconds, 3),
        ttl_seconds=round(found.lease.ttl_seconds, 3),
        grant_time=unix(found.lease.grant_time),
        beat_time=optional_unix(found, "beat_time"),
    )


def waiter(found: pb.Waiter) -> answers.WaiterInfo:
    """Show a request that waits."""
    return answers.WaiterInfo(
        request_id=found.request_id,
        position=found.position,
        pool=found.pool,
        device=found.device,
        memory_mib=found.memory_mib,
        device_count=found.device_count,
        priority=found.priority,
        user=found.user,
        task_id=found.task_id,
        purpose=found.purpose,
        waited_seconds=round(found.waited_seconds, 3),
        reason=found.reason,
    )


def device(found: pb.Device) -> answers.DeviceInfo:
    """Show a device."""
    return answers.DeviceInfo(
        device=found.device,
        lock_key=lock_key(found.device),
        pool=found.pool,
        host=found.host,
        memory_mib=found.memory_mib,
        leased_mib=found.leased_mib,
        quarantined_mib=found.quarantined_mib,
        draining=found.draining,
    )


def devices(found: pb.GetStatusResponse) -> answers.Devices:
    """Show every device."""
    return answers.Devices(
        devices=[device(one) for one in found.devices],
        holders=[holder(one) for one in found.holders],
        waiter_count=found.waiter_count,
        recovering=found.recovering,
        timestamp=unix(found.time),
    )


def lock_status(
    found: pb.GetStatusResponse,
    key: str,
    health: lock_figures.LockHealth,
    history: pb.ListHistoryResponse,
) -> answers.LockStatus:
    """Show one device's lock; raises NotFound for a key that names none."""
    chosen = named_device(found, key)
    holders = [one for one in found.holders if chosen.device in (held.device for held in one.lease.devices)]
    oldest = next((one for one in holders if works(one)), None)
    return answers.LockStatus(
        lock_key=lock_key(chosen.device),
        is_locked=oldest is not None,
        lock_type="free" if oldest is None else "active",
        lock_holder=None if oldest is None else who(oldest),
        lock_age=0.0 if oldest is None else round(oldest.held_seconds, 3),
        ttl_seconds=None if oldest is None else round(oldest.lease.ttl_seconds, 3),
        timestamp=unix(found.time),
        device=device(chosen),
        holders=[holder(one) for one in holders],
        waiters=[waiter(one) for one in found.waiters if one.pool == chosen.pool],
        recovering=found.recovering,
        health=health,
        statistics=health.statistics,
        recent_history=[record(one) for one in history.records[:5]],
    )


def health_summary(
    health: lock_figures.LockHealth, found: pb.GetHealthResponse
) -> lock_figures.LockHealthSummary:
    """Show the health in one line."""
    figures = health.statistics
    return lock_figures.LockHealthSummary(
        overall_status=health.status,
        issues_count=len(health.issues),
        issues=health.issues,
        total_attempts=figures.total_attempts,
        success_rate=figures.success_rate,
        timeout_rate=figures.timeout_rate,
        average_execution_time=figures.average_execution_time,
        recent_success_rate=figures.recent_success_rate,
        lock_holder=found.oldest_holder or None,
        lock_age=health.lock_age,
        timestamp=health.timestamp,
    )


def setting_values(found: pb.Configuration) -> dict[str, Any]:
    """Return every setting by its dotted name."""
    return {name: json.loads(text) for name, text in sorted(found.values.items())}


def settings(found: pb.Configuration) -> answers.LockSettings:
    """Show the settings."""
    return answers.LockSettings(values=setting_values(found), version=found.version, source=found.source)
