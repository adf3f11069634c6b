"""Cues moved to the speech that they belong to: an offset, a rate, and cuts, found from how likely speech is in each moment.

A cue fits where speech sets in at its start and goes on within it. For each cue and each offset that is said by one number, and the
offsets of all cues are chosen at once (Viterbi): together they fit best, and every change of offset from one cue to the next, which
is what a cut makes, has its price. That is done for each frame rate that films are made with; another rate than the cues' own has a
price, too. Inside a stretch without a change the offset is then refined. Where the cues fit nowhere clearly they stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from subtitles.cue import Cue
from subtitles.retiming import Retiming, retime

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values: TypeAlias = "NDArray[np.float64]"
RATES = (1.0, 25 / 23.976, 23.976 / 25, 25 / 24, 24 / 25, 24 / 23.976, 23.976 / 24, 30 / 29.97, 29.97 / 30)
"""What cues are multiplied by when they were made for a film at another frame rate."""
STEP_SECONDS = 0.02
"""Grid on which speech is looked at."""
_GRID_SECONDS = 0.06
"""Grid on which offsets are tried first."""
_EDGE_SECONDS = 0.3
"""How far around an edge a pause is looked for."""
_JUMP_PRICE = 1.5
"""What a change of offset costs, in cues that fit perfectly."""
_OVERLAP_SECONDS = 0.3
"""How far a cue may move over the one before it: ends are chosen freely."""
_RATE_PRICE = 1.5
_WORST, _OUTSIDE = -0.4, -1.0
"""Least worth of a cue, and that of one outside the recording."""
_LEAST_FIT = 0.27
"""Mean worth of a cue below which nothing is moved: cues of other recordings reach 0.21, cues of their own 0.33 and more."""
_LEAST_OFFSET_SECONDS = 0.08
"""A file that is off by less is in time: its author's ears are better."""
_LEAST_CUES = 4
MOST_CUE_SECONDS = 3e6
"""Cues times reach: 50,000 cues by a minute, or 5,000, more than any film has, by ten; 400 MB of choices and some minutes."""
_REFINE_SECONDS = 0.4


class TooMuch(ValueError):
    """So many cues and so far a reach would take hours and gigabytes."""


@dataclass(frozen=True)
class Piece:
    """Cues that are moved alike: the places of the first and one past the last, from 0."""

    first: int
    last: int
    retiming: Retiming


@dataclass(frozen=True)
class Sync:
    """How cues are moved."""

    pieces: tuple[Piece, ...]
    fit: float
    """Mean worth of a cue at its best place, changes paid for: to 0.2 chance, from 0.3 on sure."""
    moved: bool
    """False: the cues are in time, or fit nowhere clearly, and stay."""


class Activity:
    """Speech over time, as sums, so that the mean over any stretch costs two look-ups."""

    def __init__(self, probabilities: Sequence[float], frame_seconds: float) -> None:
        heard = np.asarray(probabilities, dtype=np.float64)
        count = max(1, int(len(heard) * frame_seconds / STEP_SECONDS))
        middles = (np.arange(count) + 0.5) * STEP_SECONDS
        frames = (np.arange(len(heard)) + 0.5) * frame_seconds
        values = np.interp(middles, frames, heard) if len(heard) else np.zeros(count)
        self.sums: Values = np.concatenate([[0.0], np.cumsum(values)])
        self.seconds = count * STEP_SECONDS
        self.mean = float(values.mean())

    def between(self, starts: Values, ends: Values) -> Values:
        """Return the mean of speech from starts to ends, seconds; outside the recording there is none."""
        first, last = (self._sum_until(edges) for edges in (starts, ends))
        return (last - first) * STEP_SECONDS / np.maximum(ends - starts, 1e-6)

    def _sum_until(self, edges: Values) -> Values:
        places = np.clip(edges / STEP_SECONDS, 0, len(self.sums) - 1)
        whole = places.astype(np.intp)
        following = np.minimum(whole + 1, len(self.sums) - 1)
        return self.sums[whole] + (places - whole) * (self.sums[following] - self.sums[whole])


def worth(cue: Cue, offsets: Values, activity: Activity) -> Values:
    """Return how well a cue fits at each offset, about −1 to 1: speech sets in where it begins, and goes on within it.

    The end counts little: many cues stay until the next one begins, or as long as it takes to read them.
    """
    start, end = cue.start + offsets, cue.end + offsets
    edge = min(_EDGE_SECONDS, cue.duration / 2)
    onset = activity.between(start, start + edge) - activity.between(start - _EDGE_SECONDS, start)
    inside = activity.between(start, end) - activity.mean
    fall = activity.between(end - edge, end) - activity.between(end, end + _EDGE_SECONDS)
    out = (start < -0.5) | (end > activity.seconds + 0.5)
    value = onset + 0.5 * inside + 0.2 * np.maximum(fall, 0)
    # A cue whose author chose its start freely is no reason to move all others; one behind the end of the film is.
    return np.where(out, _OUTSIDE, np.maximum(value, _WORST))


def find_sync(
    cues: Sequence[Cue],
    activity: Activity,
    *,
    reach_seconds: float = 60.0,
    cuts: bool = True,
    rates: bool = True,
) -> Sync:
    """Return how cues, in order of time, are to be moved; offsets are at most `reach_seconds` either way. Raises TooMuch."""
    stay = Sync((Piece(0, len(cues), Retiming()),), 0.0, moved=False)
    if len(cues) < _LEAST_CUES:
        return stay
    if len(cues) * reach_seconds > MOST_CUE_SECONDS:
        raise TooMuch(f"{len(cues)} cues are too many to be moved by up to {reach_seconds:g} seconds")
    grid = np.arange(-reach_seconds, reach_seconds + 1e-9, _GRID_SECONDS)
    best: tuple[float, float, list[int]] | None = None
    for rate in RATES if rates else (1.0,):
        moved = retime(cues, Retiming(rate))
        # One row at a time: all of them together are gigabytes for a long file that may move far.
        table = (worth(cue, grid, activity) for cue in moved)
        gaps = [_steps(after.start - before.end + _OVERLAP_SECONDS) for before, after in pairwise(moved)]
        total, path = _best_path(table, gaps, _JUMP_PRICE if cuts else np.inf)
        total -= 0.0 if rate == 1.0 else _RATE_PRICE
        if best is None or total > best[0]:
            best = total, rate, path
    assert best is not None
    total, rate, path = best
    if total / len(cues) < _LEAST_FIT:
        return replace(stay, fit=round(total / len(cues), 4))
    pieces = tuple(_refined(cues, activity, rate, piece) for piece in _pieces(path, grid))
    fit = round(total / len(cues), 4)
    if len(pieces) == 1 and rate == 1.0 and abs(pieces[0].retiming.offset_seconds) < _LEAST_OFFSET_SECONDS:
        return replace(stay, fit=fit)
    return Sync(pieces, fit, moved=True)


def _steps(seconds: float) -> int:
    return int(seconds // _GRID_SECONDS)


def _best_path(table: Iterator[Values], gaps: Sequence[int], jump_price: float) -> tuple[float, list[int]]:
    """Return the total and the offsets' places of the best choice of one offset for each cue.

    `gaps` are the steps between each cue and the one before it: a cue may not move back over that one.
    """
    score = next(table)
    places, came = np.arange(len(score), dtype=np.int32), []
    for row, gap in zip(table, gaps, strict=True):
        top = np.maximum.accumulate(score)
        owner = np.maximum.accumulate(np.where(score >= top, places, 0))
        reach = np.clip(places + gap, 0, len(places) - 1)
        jumped = np.where(places + gap >= 0, top[reach], -np.inf) - jump_price
        # Staying where the one before is moves back over nothing, unless the two overlapped already.
        came.append(np.where(score >= jumped, places, owner[reach]))
        score = np.maximum(score, jumped) + row
    place = int(score.argmax())
    total, path = float(score[place]), [place]
    for origin in reversed(came):
        place = int(origin[place])
        path.append(place)
    return total, path[::-1]


def _pieces(path: Sequence[int], grid: Values) -> list[tuple[int, int, float]]:
    """Return runs of cues with the same offset: first, one past the last, offset."""
    found: list[tuple[int, int, float]] = []
    first = 0
    for place in range(1, len(path) + 1):
        if place == len(path) or path[place] != path[first]:
            found.append((first, place, float(grid[path[first]])))
            first = place
    return found


def _refined(cues: Sequence[Cue], activity: Activity, rate: float, piece: tuple[int, int, float]) -> Piece:
    """Return a piece with its offset moved by a little to where its cues fit best, between the grid's steps."""
    first, last, offset = piece
    near = offset + np.arange(-_REFINE_SECONDS, _REFINE_SECONDS, STEP_SECONDS / 2)
    fits = sum(
        (worth(cue, near, activity) for cue in retime(cues[first:last], Retiming(rate))), np.zeros(len(near))
    )
    # The middle of all that fits nearly as well: a maximum by itself stands on the noise of one frame.
    good = fits >= fits.max() - 0.05 * (last - first) * 0.5
    weights: Values = np.where(good, fits - fits.min() + 1e-9, 0.0)
    return Piece(first, last, Retiming(rate, round(float((near * weights).sum() / weights.sum()), 3)))


def apply_sync(cues: Sequence[Cue], sync: Sync) -> list[Cue]:
    """Return the cues at their new times."""
    if not sync.moved:
        return list(cues)
    return [cue for piece in sync.pieces for cue in retime(cues[piece.first : piece.last], piece.retiming)]
