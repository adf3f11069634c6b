"""What the figures say when waits are taken back: nothing against the service."""

from __future__ import annotations

from gpulock.health import Present, judge
from gpulock.settings import HealthThresholdsSection
from gpulock.statistics import to_figures


def test_who_cancels_has_not_found_a_fault() -> None:
    """Shares are of the waits that ended otherwise; with nothing but cancelled ones there is no share, and no rule is broken."""
    counted = {
        "default|granted": "8",
        "default|timeouts": "1",
        "default|refused": "1",
        "default|cancelled": "90",
    }
    figures = to_figures(counted, "")
    assert (figures.attempts, figures.success_rate, figures.timeout_rate) == (100, 0.8, 0.1)
    assert judge(figures, Present(), HealthThresholdsSection()) == []
    only = to_figures({"default|cancelled": "5"}, "")
    assert (only.success_rate, only.timeout_rate) == (None, None)
    assert judge(only, Present(), HealthThresholdsSection()) == []
