"""The lock service's figures. Labels are pools, devices, states and reasons; never tasks or users."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import JOB_BUCKETS, LATENCY_BUCKETS

WAIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, *JOB_BUCKETS)
"""Seconds: a free device is granted in a millisecond, a busy one after as long as somebody works."""

HELD = Gauge("yivideo_gpu_lease_held", "Leases of the installation.", ["pool", "state"])
WAITERS = Gauge("yivideo_gpu_lease_waiters", "Waiters of the installation.", ["pool"])
AGE = Gauge("yivideo_gpu_lease_age_seconds", "Age of the oldest lease under which work runs.", ["pool"])
UNITS = Gauge("yivideo_gpu_lease_memory_mib", "Memory of devices, in MiB.", ["pool", "device", "kind"])
WAIT_SECONDS = Histogram(
    "yivideo_gpu_lease_wait_seconds", "From asked to granted.", ["pool"], buckets=WAIT_BUCKETS
)
HOLD_SECONDS = Histogram("yivideo_gpu_lease_hold_seconds", "How long leases were held.", buckets=JOB_BUCKETS)
GRANTS = Counter("yivideo_gpu_lease_grants_total", "Grants to this replica's clients.", ["pool"])
REQUESTS = Counter("yivideo_gpu_lease_refusals_total", "Requests refused at once.", ["pool", "code"])
RELEASES = Counter("yivideo_gpu_lease_releases_total", "Leases that ended, by reason.", ["reason"])
REVOCATIONS = Counter("yivideo_gpu_lease_revocations_total", "Leases taken from holders.", ["reason"])
TIMEOUTS = Counter("yivideo_gpu_lease_timeouts_total", "Holders warned or asked to stop.", ["level"])
OUTCOMES = Gauge(
    "yivideo_gpu_lease_outcomes",
    "Requests of the installation that ended their wait since the store was made, by how.",
    ["pool", "outcome"],
)
ENDINGS = Gauge(
    "yivideo_gpu_lease_endings",
    "Leases of the installation that ended since the store was made, by why.",
    ["pool", "reason"],
)
WARM_HITS = Counter("yivideo_gpu_lease_warm_hits_total", "Parked models taken over by a task.")
RENEWALS = Counter("yivideo_gpu_lease_renewals_total", "Beats of holders.", ["result"])
RENEW_SLACK = Histogram(
    "yivideo_gpu_lease_renew_slack_seconds", "What was left of leases when a beat came.", buckets=JOB_BUCKETS
)
RECLAIMS = Counter("yivideo_gpu_lease_reclaims_total", "Leases put back on record.", ["result"])
RECOVERIES = Counter("yivideo_gpu_lease_recoveries_total", "Restarts of the store that this replica saw.")
RECOVERING = Gauge("yivideo_gpu_lease_recovering", "1 while leases are reclaimed and nothing is granted.")
CLOCK_STEPS = Counter("yivideo_gpu_lease_clock_steps_total", "Steps of the store's clock that were undone.")
SCRIPT_SECONDS = Histogram(
    "yivideo_gpu_lease_script_seconds", "Round trip of a lock script.", ["script"], buckets=LATENCY_BUCKETS
)


@cache
def script_seconds(script: str) -> Histogram:
    """Return the histogram of one script; looking for it among the labels costs as much as the figure itself."""
    return SCRIPT_SECONDS.labels(script)


SWEEP_LAG = Histogram(
    "yivideo_gpu_lease_sweep_lag_seconds", "How late a lapsed lease was taken.", buckets=LATENCY_BUCKETS
)
SESSIONS = Gauge("yivideo_gpu_lease_sessions", "Streams of clients to this replica.")
WATCHERS = Gauge("yivideo_gpu_lease_watchers", "Streams of watchers of this replica.")
CONFIG_RELOAD = Gauge(
    "yivideo_config_last_reload_success_timestamp_seconds", "When settings last changed for the better."
)
