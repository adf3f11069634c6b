"""Figures of GPU locks, and what they mean. Names that the first YiVideo had are kept; times are Unix seconds."""

from __future__ import annotations

from gateway.http.model import Answer


class ExceptionStats(Answer):
    """What went another way than holders mean it to."""

    normal_release_failures: int
    """Leases that their holders did not give back in time: no beat came, or the hard timeout passed."""
    emergency_releases: int
    """Leases that an operator took."""
    release_script_errors: int
    """Always 0: a release that Redis did not take is repeated until it does."""
    ownership_violations: int
    """Messages refused because their fencing token was wrong or old."""


class LockStatistics(Answer):
    """What happened since the store was made, over all processes."""

    total_attempts: int
    """Requests that ended their wait: granted, timed out, refused or cancelled."""
    successful_acquisitions: int
    """Grants."""
    timeouts: int
    """Waits that ended without a grant in time."""
    cancelled: int
    """Waits taken back."""
    refused: int
    """Requests that can never fit, or found the queue full."""
    average_wait_time: float
    """Mean wait of granted requests in seconds; 0: none yet."""
    last_lock_time: float | None
    """Last grant; null: none yet."""
    last_lock_holder: str | None
    """Task, or else request, of the last grant; null: none yet."""
    total_execution_time: float
    """Seconds that ended leases were held."""
    execution_count: int
    """Ended leases."""
    average_execution_time: float
    """Mean of those in seconds; 0: none yet."""
    success_rate: float
    """Grants as a share of the waits that ended otherwise than by being taken back; 1 while there were none."""
    timeout_rate: float
    """Timeouts as a share of the same; 0 while there were none."""
    recent_success_rate: float
    """Grants as a share of the last ended waits; 1 while there were none."""
    recent_attempts: int
    """How many waits that share is over."""
    history_size: int
    """Records that /gpu-lock/history has, counted up to 100."""
    event_driven_acquisitions: int
    """Grants that were pushed to their waiters: all of them."""
    polling_acquisitions: int
    """Grants that a waiter had to come and look for."""
    event_driven_rate: float
    """Share of pushed grants; 1 while there were none."""
    polling_rate: float
    """Share of the others."""
    pub_sub_available: bool
    """Whether grants are pushed now; false while leases are being reclaimed after a loss of the store."""
    active_waiters: int
    """Requests that wait now."""
    pub_sub_subscriptions: int
    """The same: every waiter is told by push."""
    leases: int
    """Leases now, those of idle models included."""
    releases: dict[str, int]
    """Leases that ended, by reason."""
    revocations: int
    """Leases taken from their holders."""
    warm_hits: int
    """Models on a device that a task took over without loading."""
    evictions: int
    """Models unloaded because another request needed the memory."""
    load_seconds_saved: float
    """Seconds of loading that warm hits saved."""
    exception_stats: ExceptionStats
    """What went another way."""


class LockAlert(Answer):
    """One health rule that is broken."""

    rule: str
    """Alert name, for example `GPU_LOCK_TIMEOUT_RATE_HIGH`."""
    level: str
    """warning or critical."""
    message: str
    """English text."""
    value: float
    """The figure."""
    threshold: float
    """What it is held against."""


class LockHealth(Answer):
    """The figures judged."""

    status: str
    """healthy, warning or critical."""
    issues: list[str]
    """What is wrong, for people."""
    alerts: list[LockAlert]
    """The same by rule."""
    lock_age: float
    """Seconds that the oldest lease under which work runs has been held; 0: none."""
    last_lock_holder: str | None
    """Task, or else request, of the last grant."""
    statistics: LockStatistics
    """The figures that were judged."""
    timestamp: float
    """Now."""


class LockHealthSummary(Answer):
    """Health in one line."""

    overall_status: str
    """healthy, warning or critical."""
    issues_count: int
    """Rules that are broken."""
    issues: list[str]
    """What is wrong."""
    total_attempts: int
    """Requests that ended their wait."""
    success_rate: float
    """As in the statistics."""
    timeout_rate: float
    """As in the statistics."""
    average_execution_time: float
    """As in the statistics."""
    recent_success_rate: float
    """As in the statistics."""
    lock_holder: str | None
    """Task, or else request, that has held longest; null: nobody holds."""
    lock_age: float
    """Seconds for which it has; 0: nobody holds."""
    timestamp: float
    """Now."""
