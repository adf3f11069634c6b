"""Settings that every test of the scheduler rests on."""

from __future__ import annotations

from typing import Any

PREFIX = "{test}:"

SHORT: dict[str, Any] = {
    "key_prefix": PREFIX,
    "lease_seconds": 1.5,
    "silence_seconds": 1.0,
    "lost_seconds": 0.8,
    "beat_seconds": 0.2,
    "scheduler_ttl_seconds": 0.8,
    "sweep_seconds": 0.1,
    "resolve_seconds": 0.5,
    "progress_seconds": 0.0,
    "deadline_slack_seconds": 0.0,
}
"""The lengths of time of a real scheduler, a tenth of them: the scripts' clock is Redis's own and is never moved."""
