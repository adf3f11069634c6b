"""How long cues stay on the screen: as long as they must to be read, where there is room, and never over the next one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from subtitles.cue import Cue
from subtitles.measure import Limits, columns

_SNAP_SECONDS = 0.3
_LEAD_SECONDS = 0.25
"""The most that a cue begins before its first word, and only to gain time that is lacking."""


def settle(
    cues: Sequence[Cue],
    limits: Limits,
    *,
    cjk: bool,
    shot_changes: Sequence[float] = (),
    end_seconds: float | None = None,
    linger_seconds: float = 0.3,
) -> list[Cue]:
    """Return cues in order of time with ends (and, where time lacks, starts) moved into the silence around them.

    Words keep their times. `shot_changes` are instants in seconds, in order: an edge within 0.3 s of one moves to it, an end two
    frames before it, unless that would cut words off. `end_seconds` is where the film ends. `linger_seconds` is how much longer
    than spoken a cue stays in any case: eyes need a moment more than ears; 0 for cues whose author has chosen their ends.
    """
    ordered = sorted(cues, key=lambda cue: (cue.start, cue.end))
    starts, ends = [max(0.0, cue.start) for cue in ordered], [cue.end for cue in ordered]
    for place, cue in enumerate(ordered):
        following = ordered[place + 1].start if place + 1 < len(ordered) else end_seconds
        latest = (
            float("inf")
            if following is None
            else following - (limits.min_gap_seconds if place + 1 < len(ordered) else 0)
        )
        if place + 1 < len(ordered) and _talk_at_once(cue, ordered[place + 1]):
            latest = max(latest, cue.end)
        needed = min(
            limits.max_seconds,
            max(limits.min_seconds, columns(cue.text, cjk=cjk) / limits.columns_per_second + 0.001),
        )
        wanted = max(ends[place] + linger_seconds, starts[place] + needed)
        ends[place] = min(wanted, latest, max(ends[place], starts[place] + limits.max_seconds))
        lacking = starts[place] + needed - ends[place]
        if lacking > 0:
            earliest = ends[place - 1] + limits.min_gap_seconds if place else 0.0
            starts[place] = max(
                min(starts[place], earliest), starts[place] - min(lacking, _LEAD_SECONDS), 0.0
            )
        ends[place] = max(ends[place], starts[place] + 0.001)
        if shot_changes:
            _snap(ordered[place], place, starts, ends, shot_changes, limits)
    return [_rounded(cue, start, end) for cue, start, end in zip(ordered, starts, ends, strict=True)]


def _talk_at_once(cue: Cue, following: Cue) -> bool:
    """Whether two people speak at the same time: then both are shown."""
    return cue.speaker != following.speaker and following.start < cue.end - 0.05


def _rounded(cue: Cue, start: float, end: float) -> Cue:
    start = round(start, 3)
    return cue.at(start, max(round(end, 3), round(start + 0.001, 3)))


def _snap(
    cue: Cue,
    place: int,
    starts: list[float],
    ends: list[float],
    shot_changes: Sequence[float],
    limits: Limits,
) -> None:
    """Move a cue's edges to shot changes close by: a subtitle that flashes over a cut is read twice."""
    near = _nearest(shot_changes, starts[place])
    earliest = ends[place - 1] + limits.min_gap_seconds if place else 0.0
    if near is not None and earliest <= near <= cue.start + 0.1:
        starts[place] = near
    near = _nearest(shot_changes, ends[place])
    if near is not None:
        end = near - limits.min_gap_seconds
        spoken = cue.words[-1].end if cue.words else cue.end
        if spoken - 0.1 <= end and end - starts[place] >= limits.min_seconds and end <= ends[place]:
            ends[place] = end


def _nearest(instants: Sequence[float], instant: float) -> float | None:
    place = bisect_left(instants, instant)
    near = min(instants[max(0, place - 1) : place + 1], key=lambda other: abs(other - instant), default=None)
    return near if near is not None and abs(near - instant) <= _SNAP_SECONDS else None
