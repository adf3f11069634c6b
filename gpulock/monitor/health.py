"""The health rules and their alert names. A figure that nothing has been counted for breaks no rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpulock.monitor.statistics import Figures
from gpulock.settings import HealthThresholdsSection

Level = Literal["warning", "critical"]

RECENT_SUCCESS_RATE = 0.7
HEARTBEAT_FAILURE_RATE = 0.05
QUARANTINE_SECONDS = 60.0
RECOVERING_SECONDS = 60.0


@dataclass(frozen=True)
class Issue:
    """One broken rule."""

    rule: str
    level: Level
    message: str
    value: float
    threshold: float


@dataclass(frozen=True)
class Present:
    """What is the case now, beside the figures."""

    oldest_lease_seconds: float = 0.0
    oldest_holder: str = ""
    oldest_quarantine_seconds: float = 0.0
    """How long a revoked lease's memory has been kept back after the lease would have run out."""
    seconds_since_check: float = 0.0
    check_limit_seconds: float = 60.0
    watching: bool = True
    """Whether graded timeouts are on."""


def judge(figures: Figures, present: Present, thresholds: HealthThresholdsSection) -> list[Issue]:
    """Return the broken rules, the worst first."""
    issues: list[Issue] = []

    def below(rule: str, what: str, value: float | None, least: float) -> None:
        if value is not None and value < least:
            issues.append(Issue(rule, "warning", f"{what} is {value:.2f}, below {least:g}", value, least))

    def above(rule: str, level: Level, what: str, value: float | None, most: float) -> None:
        if value is not None and value > most:
            issues.append(Issue(rule, level, f"{what} is {value:.4g}, above {most:g}", value, most))

    recent = figures.recent_outcomes(thresholds.recent_window_size)
    below(
        "GPU_LOCK_SUCCESS_RATE_LOW",
        "the share of granted requests",
        figures.success_rate,
        thresholds.min_success_rate,
    )
    below("GPU_LOCK_RECENT_SUCCESS_RATE_LOW", f"the share of granted requests among the last {len(recent)}",
          recent.count("1") / len(recent) if recent else None, RECENT_SUCCESS_RATE)  # fmt: skip
    above("GPU_LOCK_TIMEOUT_RATE_HIGH", "warning", "the share of waits that ended in a timeout",
          figures.timeout_rate, thresholds.max_timeout_rate)  # fmt: skip
    ended = figures.counts["ended"]
    above("HEARTBEAT_FAILURE_RATE_HIGH", "warning", "the share of leases that ended without a beat",
          figures.releases["heartbeat"] / ended if ended else None, HEARTBEAT_FAILURE_RATE)  # fmt: skip
    above("GPU_LOCK_DEADLOCK_DETECTED", "critical", f"the age in seconds of the lease of {present.oldest_holder}",
          present.oldest_lease_seconds or None, thresholds.max_lock_age)  # fmt: skip
    above("GPU_LOCK_QUARANTINE_LONG", "critical", "the age in seconds of a quarantine past its lease",
          present.oldest_quarantine_seconds or None, QUARANTINE_SECONDS)  # fmt: skip
    above("MONITOR_SERVICE_DOWN", "critical", "the time in seconds since the last check",
          present.seconds_since_check, present.check_limit_seconds)  # fmt: skip
    return sorted(issues, key=lambda issue: issue.level != "critical")
