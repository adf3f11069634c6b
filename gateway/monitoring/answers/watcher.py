"""Answers about who watches over holders: the watcher, beats, timeouts, and all of it together. Times are Unix seconds."""

from __future__ import annotations

from typing import Any

from gateway.http.model import Answer
from gateway.monitoring.answers.lock_figures import LockStatistics


class Outcome(Answer):
    """What came of a request."""

    message: str
    """English text."""
    success: bool
    """Whether it is so now."""


class MonitorState(Answer):
    """How the watcher is."""

    status: str
    """healthy, warning, stopped or error."""
    last_error: str | None
    """Last error; null: none."""
    last_recovery_time: float | None
    """When a revoked lease's devices were last granted again; null: never."""
    healthy_checks: int
    """Checks that found nothing to do."""
    unhealthy_checks: int
    """Checks that found something to do."""


class MonitorStats(Answer):
    """What the watcher has done, over all replicas."""

    total_checks: int
    """Checks."""
    warning_count: int
    """Warnings given."""
    soft_timeout_count: int
    """Holders asked to stop."""
    hard_timeout_count: int
    """Leases revoked by the hard timeout."""
    heartbeat_timeout_count: int
    """Leases revoked because no beat came."""
    successful_recoveries: int
    """Revoked leases whose devices were granted again."""
    start_time: float | None
    """When the first replica that lives started."""
    last_check_time: float | None
    """Last check."""


class MonitorStatus(Answer):
    """The watcher over holders."""

    monitor_status: MonitorState
    """How it is."""
    monitor_stats: MonitorStats
    """What it has done."""
    config: dict[str, Any]
    """Its settings (`gpu_lock_monitor`)."""
    is_running: bool
    """Whether it acts on timeouts."""
    uptime: float
    """Seconds since it started; 0: it has not."""


class MonitorMetrics(Answer):
    """The watcher's figures."""

    total_checks: int
    """Checks."""
    healthy_rate: float
    """Share of the checks that found nothing to do; 1 while there were none."""
    recovery_rate: float
    """Share of revoked leases whose devices were granted again; 1 while there were none."""
    warning_count: int
    """Warnings given."""
    timeout_count: int
    """Soft, hard and heartbeat timeouts."""
    successful_recoveries: int
    """Revoked leases whose devices were granted again."""


class MonitorHealth(Answer):
    """Whether the watcher does its work."""

    status: str
    """healthy, stopped, error or warning."""
    issues: list[str]
    """What is wrong."""
    metrics: MonitorMetrics
    """Its figures."""
    timestamp: float
    """Now."""


class HeartbeatData(Answer):
    """What is known of a task that lives."""

    task_id: str
    """The task."""
    status: str
    """running, completed, failed, cancelled or pending; for a lease without a task, running."""
    progress: float
    """0 to 100."""
    message: str
    """Where it is."""
    last_update: float | None
    """Last beat of its lease, or else the last change of its record."""
    start_time: float | None
    """When its attempt, or its lease, began."""
    lease: str | None
    """Request that holds a device for it; null: none."""


class TaskHeartbeat(Answer):
    """Whether a task lives."""

    task_id: str
    """The task."""
    heartbeat_exists: bool
    """Whether beats come: its lease is renewed, or the scheduler's attempt runs."""
    is_registered: bool
    """Whether the scheduler knows the task."""
    status: str
    """As in `heartbeat_data`; also orphaned (a lease whose task does not run) and not_found."""
    heartbeat_data: HeartbeatData | None = None
    """What is known."""
    last_update: float | None = None
    """As in `heartbeat_data`."""
    is_running: bool | None = None
    """Whether it runs."""


class HeartbeatStatistics(Answer):
    """How many tasks live."""

    total_tasks: int
    """Active, dead and orphaned ones."""
    active_tasks: int
    """Tasks whose beats come."""
    dead_tasks: int
    """Those of the list."""
    heartbeat_failures: int
    """Leases ever revoked because no beat came."""
    start_time: float | None
    """When counting began."""


class Heartbeats(Answer):
    """Every task that lives or should."""

    active_tasks: dict[str, HeartbeatData]
    """By task."""
    dead_tasks: list[str]
    """Tasks, or else requests, of holders whose beats stopped, or whose lease was taken and whose memory may not be back."""
    orphaned_tasks: list[str]
    """Tasks that hold a device although the scheduler does not run them; the request, where it runs the task elsewhere now."""
    statistics: HeartbeatStatistics
    """How many."""
    timestamp: float
    """Now."""


class HeartbeatCleanup(Outcome):
    """What a clean-up did."""

    cleaned_dead_tasks: int
    """Leases taken from holders that are dead or orphaned."""


class TimeoutStats(Answer):
    """Graded timeouts so far."""

    warning_actions: int
    """Warnings given."""
    soft_timeout_actions: int
    """Holders asked to stop."""
    hard_timeout_actions: int
    """Leases revoked."""
    successful_actions: int
    """Those that are done: every warning, every stop, and revoked leases whose memory came back."""
    failed_actions: int
    """Revoked leases whose memory has not come back."""
    start_time: float | None
    """When counting began."""


class TimeoutAction(Answer):
    """A graded timeout: a holder was warned, or lost its lease."""

    action_name: str
    """As in `configured_actions`."""
    level: str
    """warning, soft_timeout, hard_timeout or heartbeat."""
    task_id: str
    """Task, or else request, that held."""
    lock_key: str
    """The lock."""
    success: bool
    """Whether it was done: the holder warned, or the lease ended."""
    timestamp: float
    """When."""


class ConfiguredAction(Answer):
    """One graded timeout."""

    name: str
    """What is done."""
    level: str
    """warning, soft_timeout, hard_timeout or heartbeat."""
    threshold: float
    """Seconds of holding, or of silence, after which it is."""
    last_executed: float | None
    """When it was last done; null: not among the last 100 records, or 20 warnings."""


class TimeoutStatus(Answer):
    """Graded timeouts."""

    timeout_stats: TimeoutStats
    """How often."""
    action_history: list[TimeoutAction]
    """The last ten, newest first."""
    configured_actions: list[ConfiguredAction]
    """What is set."""
    timestamp: float
    """Now."""


class TimeoutLevels(Answer):
    """Seconds of holding after which something is done."""

    warning: float
    """A warning."""
    soft_timeout: float
    """The holder is asked to stop."""
    hard_timeout: float
    """The lease is revoked."""


class ExecutedAction(Answer):
    """A level that a holder has reached."""

    action_name: str
    """As in `configured_actions`."""
    level: str
    """The level."""
    threshold: float
    """Seconds."""
    success: bool
    """Whether it has been acted on."""
    timestamp: float
    """Now."""


class TimeoutCheck(Answer):
    """What a check found; of a free lock only `status`."""

    status: str
    """no_lock or checked."""
    lock_key: str | None = None
    """The lock."""
    lock_age: float | None = None
    """Seconds it has been held."""
    actions_executed: list[ExecutedAction] | None = None
    """The levels that it has reached."""
    successful_actions: int | None = None
    """Those acted on."""
    failed_actions: int | None = None
    """The others: the watcher is stopped."""
    lock_released: bool | None = None
    """Whether this check took the lease."""


class AllStatistics(Answer):
    """All figures."""

    timestamp: float
    """Now."""
    gpu_lock: LockStatistics
    """Locks."""
    monitor: MonitorStats
    """The watcher."""
    heartbeat: HeartbeatStatistics
    """Beats."""
    timeout: TimeoutStats
    """Timeouts."""


class MonitoringHealth(Answer):
    """Whether locks are watched over, and whether the figures are good."""

    status: str
    """healthy, warning or critical."""
    issues: list[str]
    """What is wrong."""
    components: dict[str, str]
    """Status of monitor, heartbeat and gpu_lock."""
    timestamp: float
    """Now."""
