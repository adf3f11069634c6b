"""When a request is sent again, and after which pause."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses after which the same request may succeed."""
_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 20.0


def pause_seconds(attempt: int, share: float, retry_after: float | None) -> float:
    """Return the pause after the attempt of that number, from 1: as long as the server asks, else grown by two and spread.

    `share`, 0 to 1, is random: callers that failed together must not come back together.
    """
    if retry_after is not None:
        # A little later than asked, spread: many were told the same second.
        return retry_after + share * 0.25
    return min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** (attempt - 1)) * (0.5 + share / 2)


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, which has a number of them or a date; None when it has neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if seconds < 1e9 else None
