"""Shows the watcher over holders and its timeouts, in the shapes of the first YiVideo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.monitoring import lock_presenter
from gateway.monitoring.answers import watcher as answers
from gateway.monitoring.lock_presenter import optional_unix, share, unix
from yivideo.gpulock.v1 import monitor_pb2 as pb

MONITOR = "gpu_lock_monitor."
ENABLED = MONITOR + "enabled"
INTERVAL = MONITOR + "monitor_interval"
BEAT_TIMEOUT = MONITOR + "heartbeat.timeout"
LEVELS = MONITOR + "timeout_levels."

_SLOW_CHECKS = 3
"""Intervals without a check after which the watcher is taken for dead."""

ACTIONS = (
    ("warning_notification", "warning", LEVELS + "warning"),
    ("soft_stop", "soft_timeout", LEVELS + "soft_timeout"),
    ("hard_revocation", "hard_timeout", LEVELS + "hard_timeout"),
    ("heartbeat_revocation", "heartbeat", BEAT_TIMEOUT),
)
"""Name, level and setting of what is done about holders, mildest first."""

_ENDED_BY = {"stopped": "soft_timeout", "hard_timeout": "hard_timeout", "heartbeat": "heartbeat"}
"""Level by the reason that the history gives for a lease's end."""

_REVOKED_BY = ("hard_timeout", "heartbeat")

_NAMES = {level: name for name, level, _ in ACTIONS}


def monitor_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the watcher's settings as the nested section that a settings file has."""
    section: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(MONITOR):
            *path, last = name.removeprefix(MONITOR).split(".")
            inner = section
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
    return section


def monitor_problems(watcher: pb.Watcher, values: Mapping[str, Any], now: float) -> tuple[str, list[str]]:
    """Judge the watcher: its status word, and what is wrong."""
    if not watcher.running:
        return "stopped", ["MONITOR_SERVICE_DOWN: the watcher is switched off"]
    issues: list[str] = []
    status = "healthy"
    last_check = optional_unix(watcher, "check_time")
    slow_seconds = _SLOW_CHECKS * float(values.get(INTERVAL, 30.0))
    if last_check is not None and now - last_check > slow_seconds:
        status = "warning"
        issues.append(f"MONITOR_SERVICE_DOWN: the last check was {now - last_check:.0f} s ago")
    if watcher.last_error:
        status = "error"
        issues.append(watcher.last_error)
    return status, issues


def monitor_stats(watcher: pb.Watcher) -> answers.MonitorStats:
    """Show what the watcher has done."""
    return answers.MonitorStats(
        total_checks=watcher.checks,
        warning_count=watcher.warnings,
        soft_timeout_count=watcher.soft_timeouts,
        hard_timeout_count=watcher.hard_timeouts,
        heartbeat_timeout_count=watcher.heartbeat_timeouts,
        successful_recoveries=watcher.recoveries,
        start_time=optional_unix(watcher, "start_time"),
        last_check_time=optional_unix(watcher, "check_time"),
    )


def monitor_status(watcher: pb.Watcher, values: Mapping[str, Any], now: float) -> answers.MonitorStatus:
    """Show the watcher."""
    stats = monitor_stats(watcher)
    return answers.MonitorStatus(
        monitor_status=answers.MonitorState(
            status=monitor_problems(watcher, values, now)[0],
            last_error=watcher.last_error or None,
            last_recovery_time=optional_unix(watcher, "recovery_time"),
            healthy_checks=watcher.checks - watcher.unhealthy_checks,
            unhealthy_checks=watcher.unhealthy_checks,
        ),
        monitor_stats=stats,
        config=monitor_config(values),
        is_running=watcher.running,
        uptime=0.0 if stats.start_time is None else round(max(0.0, now - stats.start_time), 3),
    )


def _revoked(watcher: pb.Watcher) -> int:
    return watcher.hard_timeouts + watcher.heartbeat_timeouts


def monitor_health(
    watcher: pb.Watcher, values: Mapping[str, Any], revocations: int, now: float
) -> answers.MonitorHealth:
    """Judge the watcher; `revocations` are all leases that were taken, by operators too, as recoveries are of all."""
    status, issues = monitor_problems(watcher, values, now)
    return answers.MonitorHealth(
        status=status,
        issues=issues,
        metrics=answers.MonitorMetrics(
            total_checks=watcher.checks,
            healthy_rate=share(watcher.checks - watcher.unhealthy_checks, watcher.checks, 1.0),
            recovery_rate=share(min(watcher.recoveries, revocations), revocations, 1.0),
            warning_count=watcher.warnings,
            timeout_count=watcher.soft_timeouts + _revoked(watcher),
            successful_recoveries=watcher.recoveries,
        ),
        timestamp=now,
    )


def _not_back(status: pb.GetStatusResponse, history: pb.ListHistoryResponse) -> int:
    """Count the leases that a timeout has revoked and whose memory is not known to be back."""
    ended = {record.request_id: record.reason for record in reversed(history.records)}
    return sum(
        holder.state == pb.HOLDER_STATE_QUARANTINED and ended.get(holder.lease.request_id) in _REVOKED_BY
        for holder in status.holders
    )


def timeout_stats(
    watcher: pb.Watcher, status: pb.GetStatusResponse, history: pb.ListHistoryResponse
) -> answers.TimeoutStats:
    """Count the graded timeouts."""
    failed = min(_not_back(status, history), _revoked(watcher))
    return answers.TimeoutStats(
        warning_actions=watcher.warnings,
        soft_timeout_actions=watcher.soft_timeouts,
        hard_timeout_actions=watcher.hard_timeouts,
        successful_actions=watcher.warnings + watcher.soft_timeouts + _revoked(watcher) - failed,
        failed_actions=failed,
        start_time=optional_unix(watcher, "start_time"),
    )


def timeout_status(
    watcher: pb.Watcher,
    values: Mapping[str, Any],
    status: pb.GetStatusResponse,
    history: pb.ListHistoryResponse,
    now: float,
) -> answers.TimeoutStatus:
    """Show the graded timeouts, whom they warned, and the leases that they have ended."""
    ended = [record for record in history.records if record.success and record.reason in _ENDED_BY]
    last: dict[str, float] = {}
    for record in ended:
        last.setdefault(_ENDED_BY[record.reason], unix(record.end_time))
    if watcher.given_warnings:
        last["warning"] = unix(watcher.given_warnings[0].time)
    done = [*map(_ended, ended), *map(_warned, watcher.given_warnings)]
    return answers.TimeoutStatus(
        timeout_stats=timeout_stats(watcher, status, history),
        action_history=sorted(done, key=lambda one: one.timestamp, reverse=True)[:10],
        configured_actions=[
            answers.ConfiguredAction(
                name=name, level=level, threshold=float(values[setting]), last_executed=last.get(level)
            )
            for name, level, setting in ACTIONS
            if setting in values
        ],
        timestamp=now,
    )


def _ended(record: pb.HistoryRecord) -> answers.TimeoutAction:
    return answers.TimeoutAction(
        action_name=_NAMES[_ENDED_BY[record.reason]],
        level=_ENDED_BY[record.reason],
        task_id=record.task_id or record.request_id,
        lock_key=lock_presenter.lock_key(*record.devices),
        success=True,
        timestamp=unix(record.end_time),
    )


def _warned(given: pb.GivenWarning) -> answers.TimeoutAction:
    return answers.TimeoutAction(
        action_name=_NAMES["warning"],
        level="warning",
        task_id=given.task_id or given.request_id,
        lock_key=lock_presenter.lock_key(*given.devices),
        success=True,
        timestamp=unix(given.time),
    )


def timeout_levels(values: Mapping[str, Any]) -> answers.TimeoutLevels:
    """Show after which times of holding something is done."""
    names = ("warning", "soft_timeout", "hard_timeout")
    return answers.TimeoutLevels(**{name: float(values[LEVELS + name]) for name in names})


def timeout_check(
    holder: pb.Holder, key: str, levels: answers.TimeoutLevels, *, watched: bool, taken: bool, now: float
) -> answers.TimeoutCheck:
    """Show which levels a holder has reached, and which of them were acted on."""
    stopping = holder.state in (pb.HOLDER_STATE_STOPPING, pb.HOLDER_STATE_QUARANTINED)
    acted = {
        "warning": watched,
        "soft_timeout": stopping or taken,
        "hard_timeout": taken or holder.state == pb.HOLDER_STATE_QUARANTINED,
    }
    reached = [
        answers.ExecutedAction(
            action_name=_NAMES[level],
            level=level,
            threshold=getattr(levels, level),
            success=acted[level],
            timestamp=now,
        )
        for level in acted
        if holder.held_seconds >= getattr(levels, level) > 0
    ]
    done = sum(action.success for action in reached)
    return answers.TimeoutCheck(
        status="checked",
        lock_key=key,
        lock_age=round(holder.held_seconds, 3),
        actions_executed=reached,
        successful_actions=done,
        failed_actions=len(reached) - done,
        lock_released=taken,
    )
