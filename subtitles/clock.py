"""Times as subtitle files write them."""

from __future__ import annotations

import math
import re

_CLOCK = re.compile(r"\s*(-)?(?:(\d{1,4}):)?(\d{1,4}):(\d{1,3})(?:[.,:](\d{1,9}))?\s*$")


def parse_clock(text: str) -> float | None:
    """Return the seconds of `00:01:02,500`, `01:02.5`, `100:00:00,000` or `-00:00:01,000`; None when it is no time."""
    match = _CLOCK.match(text)
    if match is None:
        return None
    sign, hours, minutes, seconds, fraction = match.groups()
    value = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return (-1 if sign else 1) * float(f"{value}.{fraction or 0}")


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, never below zero; not finite: zero."""
    return max(0, round(seconds * 1000)) if math.isfinite(seconds) else 0


def split_clock(seconds: float) -> tuple[int, int, int, int]:
    """Return hours, minutes, seconds and milliseconds; negative times count as zero, as no file form has them."""
    total, fraction = divmod(milliseconds(seconds), 1000)
    minutes, second = divmod(total, 60)
    hours, minute = divmod(minutes, 60)
    return hours, minute, second, fraction


def format_clock(seconds: float, mark: str = ",") -> str:
    """Return `01:02:03,004`; `mark` stands before the milliseconds."""
    hours, minute, second, fraction = split_clock(seconds)
    return f"{hours:02d}:{minute:02d}:{second:02d}{mark}{fraction:03d}"
