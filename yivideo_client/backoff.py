"""How long to wait before a request is made again: exponential with full jitter, and never earlier than the server asks."""

from __future__ import annotations

import random
from dataclasses import dataclass

MAX_ASKED_SECONDS = 60.0
"""A `Retry-After` beyond this is the caller's to wait for, not ours."""


@dataclass(frozen=True)
class Backoff:
    """Attempts at one request, and the waits between them."""

    attempts: int = 5
    """How often a request is made at most while the server has not been heard of; at least 1."""
    patient_attempts: int = 20
    """How often once it has: what was there is likely to come back. With these waits that is two thirds of a minute on average."""
    base_seconds: float = 0.2
    """Upper bound of the first wait; each further one doubles."""
    max_seconds: float = 5.0
    """Upper bound of every wait."""

    def delay_seconds(
        self, failures: int, asked_seconds: float | None = None, *, patient: bool = False
    ) -> float | None:
        """Return the wait after so many failures in a row; None: give up. `patient`: the server has been heard of."""
        most = max(self.attempts, self.patient_attempts) if patient else self.attempts
        if failures >= most or (asked_seconds or 0.0) > MAX_ASKED_SECONDS:
            return None
        bound = min(self.max_seconds, self.base_seconds * 2.0 ** (failures - 1))
        return max(asked_seconds or 0.0, random.uniform(0.0, bound))  # noqa: S311 - spreads clients, hides nothing
