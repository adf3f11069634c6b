"""What the bench of the lock service reads off turns."""

from __future__ import annotations

import math

from bench.gpulock.turns import (
    MILLISECOND,
    SECOND,
    Figures,
    Turn,
    handovers,
    inversions,
    overlaps,
    percentile,
)


def test_a_handover_runs_from_the_release_to_the_next_holder() -> None:
    """Only who waited by then took over; who came later found the lock free."""
    turns = [Turn(0, 1, 100), Turn(10, 130, 200), Turn(250, 260, 300)]
    assert handovers(reversed(turns)) == [30 / SECOND]


def test_who_passes_somebody_that_waits_is_counted() -> None:
    """Each turn taken before an earlier asker's is one inversion; order of asking has none."""
    assert inversions([Turn(0, 1, 2), Turn(1, 3, 4), Turn(2, 5, 6)]) == 0
    assert inversions([Turn(0, 1, 2), Turn(5, 3, 4), Turn(3, 7, 8), Turn(4, 9, 10)]) == 1
    assert inversions([Turn(0, 9, 10), Turn(1, 1, 2), Turn(2, 3, 4)]) == 2


def test_two_holders_at_once_are_seen() -> None:
    """A turn that begins before the last one's release is an overlap."""
    assert overlaps([Turn(0, 1, 5), Turn(1, 5, 6)]) == 0
    assert overlaps([Turn(0, 1, 5), Turn(1, 4, 6)]) == 1


def test_percentiles_are_values_that_were_measured() -> None:
    """p50 and p99 are members; of nothing they are NaN."""
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert percentile([3.0], 0.01) == 3.0
    assert math.isnan(percentile([], 0.5))


def test_figures_add_up_over_rounds() -> None:
    """Two rounds are one list of hand-overs."""
    figures = Figures.empty()
    for begin in (0, SECOND):
        figures.add(
            [
                Turn(begin, begin, begin + 10 * MILLISECOND),
                Turn(begin + 1, begin + 12 * MILLISECOND, begin + SECOND // 2),
            ]
        )
    assert figures.text() == "2.00 / 2.00"
    assert (figures.turns, figures.inversions, figures.overlaps) == (4, 0, 0)
