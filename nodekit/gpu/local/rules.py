"""What the arbiter inside the process takes its time limits from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LocalRules:
    """How long what lasts, in seconds, and how many may wait; the lock service's settings of the same names say what each is."""

    max_wait_seconds: float = 300.0
    waiter_grace_seconds: float = 15.0
    priority_boost_seconds: float = 60.0
    backfill_seconds: float = 30.0
    yield_seconds: float = 30.0
    max_waiters: int = 1000
