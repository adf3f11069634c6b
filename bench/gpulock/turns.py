"""Turns at a lock, and what they say: how long hand-overs took, who was passed, whether two ever held.

Every time is CLOCK_MONOTONIC in nanoseconds, which all processes of one machine share. A hand-over runs from the moment before
a holder gives back until the next holder knows that it runs: everything a client waits for is in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

SECOND = 1_000_000_000
MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Turn:
    """One client's turn."""

    asked: int
    """Before it sent its request."""
    running: int
    """When it learned that it holds the lock."""
    releasing: int
    """Before it sent its release."""


def handovers(turns: Iterable[Turn]) -> list[float]:
    """Return the seconds of each hand-over to a client that was waiting by then, in the order of the turns."""
    ordered = sorted(turns, key=lambda turn: turn.running)
    return [
        (later.running - earlier.releasing) / SECOND
        for earlier, later in pairwise(ordered)
        if later.asked < earlier.releasing
    ]


def inversions(turns: Iterable[Turn]) -> int:
    """Count the turns that began while somebody who had asked earlier was still waiting."""
    ordered = sorted(turns, key=lambda turn: turn.running)
    count, waiting = 0, sorted(turn.asked for turn in ordered)
    for turn in ordered:
        count += turn.asked != waiting[0]
        waiting.remove(turn.asked)
    return count


def overlaps(turns: Iterable[Turn]) -> int:
    """Count the turns that began before the one before them was over."""
    ordered = sorted(turns, key=lambda turn: turn.running)
    return sum(later.running < earlier.releasing for earlier, later in pairwise(ordered))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed; NaN for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


@dataclass
class Figures:
    """What one lock showed with one number of waiters, over all rounds."""

    seconds: list[float]
    inversions: int = 0
    overlaps: int = 0
    turns: int = 0

    @classmethod
    def empty(cls) -> Figures:
        """Return figures of no rounds."""
        return cls([])

    def add(self, turns: Sequence[Turn]) -> None:
        """Count one round's turns."""
        self.seconds += handovers(turns)
        self.inversions += inversions(turns)
        self.overlaps += overlaps(turns)
        self.turns += len(turns)

    def milliseconds(self, share: float) -> float:
        """Return a percentile of the hand-overs in milliseconds."""
        return percentile(self.seconds, share) * 1000

    def text(self) -> str:
        """Return `p50 / p99 [inversions]`, in milliseconds."""
        passed = f" [{100 * self.inversions / self.turns:.0f} %]" if self.inversions and self.turns else ""
        return f"{self.milliseconds(0.5):.2f} / {self.milliseconds(0.99):.2f}{passed}"
