"""What makes cues hard to read, counted by kind, so that a file can be judged before and after it was worked on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from subtitles.cue import Cue
from subtitles.measure import Limits, columns, reading_speed

_SLACK = 1e-6
_MILLISECOND = 0.0011


class Violation(StrEnum):
    """Kinds of what is wrong with a cue."""

    LINE_TOO_LONG = "line_too_long"
    TOO_MANY_LINES = "too_many_lines"
    TOO_FAST = "too_fast"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    GAP_TOO_SMALL = "gap_too_small"
    OVERLAP = "overlap"
    EMPTY = "empty"
    OUT_OF_ORDER = "out_of_order"
    NOT_AFTER_START = "not_after_start"
    """It ends before it begins, or at once."""
    NEGATIVE = "negative"


INVALID = frozenset(
    {
        Violation.OVERLAP,
        Violation.EMPTY,
        Violation.OUT_OF_ORDER,
        Violation.NOT_AFTER_START,
        Violation.NEGATIVE,
    }
)
"""Kinds that players trip over; the others only make reading hard."""


@dataclass(frozen=True)
class Finding:
    """One violation of one cue."""

    place: int
    """Which cue, from 0."""
    kind: Violation
    value: float
    """What was measured: columns, lines, columns a second, or seconds."""
    limit: float


def find_violations(cues: Sequence[Cue], limits: Limits, *, cjk: bool) -> list[Finding]:
    """Return everything in which cues break the limits, in order."""
    found: list[Finding] = []
    for place, cue in enumerate(cues):
        following = cues[place + 1] if place + 1 < len(cues) else None
        found += _of_text(place, cue, limits, cjk=cjk)
        found += _of_times(place, cue, following, limits)
    return found


def count_kinds(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many there are of each kind that there is."""
    return dict(sorted(Counter(finding.kind.value for finding in findings).items()))


def _of_text(place: int, cue: Cue, limits: Limits, *, cjk: bool) -> Iterator[Finding]:
    lines = [line for line in cue.plain.split("\n") if line.strip()]
    if not lines:
        yield Finding(place, Violation.EMPTY, 0, 1)
        return
    longest = max(columns(line, cjk=cjk) for line in lines)
    if longest > limits.line_columns + _SLACK:
        yield Finding(place, Violation.LINE_TOO_LONG, longest, limits.line_columns)
    if len(lines) > limits.lines:
        yield Finding(place, Violation.TOO_MANY_LINES, len(lines), limits.lines)
    speed = reading_speed(cue.text, cue.duration, cjk=cjk)
    if cue.duration > 0 and speed > limits.columns_per_second * (1 + 1e-3):
        yield Finding(place, Violation.TOO_FAST, round(speed, 2), limits.columns_per_second)


def _of_times(place: int, cue: Cue, following: Cue | None, limits: Limits) -> Iterator[Finding]:
    if cue.start < 0:
        yield Finding(place, Violation.NEGATIVE, cue.start, 0)
    if cue.duration <= 0:
        yield Finding(place, Violation.NOT_AFTER_START, cue.duration, 0)
    elif cue.duration < limits.min_seconds - _MILLISECOND:
        yield Finding(place, Violation.TOO_SHORT, round(cue.duration, 3), limits.min_seconds)
    if cue.duration > limits.max_seconds + _MILLISECOND:
        yield Finding(place, Violation.TOO_LONG, round(cue.duration, 3), limits.max_seconds)
    if following is None:
        return
    gap = following.start - cue.end
    if following.start < cue.start:
        yield Finding(place + 1, Violation.OUT_OF_ORDER, following.start, cue.start)
    elif gap < -_SLACK:
        yield Finding(place, Violation.OVERLAP, round(gap, 3), 0)
    elif gap < limits.min_gap_seconds - _MILLISECOND:
        yield Finding(place, Violation.GAP_TOO_SMALL, round(gap, 3), limits.min_gap_seconds)
