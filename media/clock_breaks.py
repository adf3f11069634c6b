"""Where a recording's clock breaks: joined broadcasts whose clock begins again, receivers that lost it and found another.

Only formats whose clock starts anywhere can break so (`MediaFacts.has_free_clock`). A break is bridged for all streams by the
same amount, so that sound and pictures stay in step: what comes after it follows what came before. A stream that is silent for
a while, while others go on, has a hole and no break: holes stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BACK_SECONDS = 0.5
"""A step back by more than this is a break; less is the untidiness of a muxer."""
AHEAD_SECONDS = 10.0
"""A step ahead by more than this, made by every stream, is a break; ffmpeg's own limit (`-dts_delta_threshold`)."""
_SAME_BREAK_SECONDS = 5.0
"""How far apart streams may lie before and after one and the same break."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One packet's place on the container's clock, in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class Shift:
    """From its packet number `first` (from 0) on, a stream's times are to be moved by `seconds`."""

    first: int
    seconds: float


@dataclass(frozen=True)
class _Step:
    """One stream's clock goes on from `before` at `after`."""

    first: int
    before: float
    after: float

    def is_same_break(self, other: _Step) -> bool:
        return (
            abs(self.before - other.before) < _SAME_BREAK_SECONDS
            and abs(self.after - other.after) < _SAME_BREAK_SECONDS
        )


def find_shifts(streams: Mapping[int, Sequence[Stamp]]) -> dict[int, tuple[Shift, ...]]:
    """Return the shifts of each stream that has any; `streams` are the packets by stream number, in the file's order."""
    left = {number: _steps(stamps) for number, stamps in streams.items()}
    left = {
        number: [step for step in steps if not _is_hole(step, number, streams, left)]
        for number, steps in left.items()
    }
    shifts: dict[int, list[Shift]] = {}
    moved: dict[int, float] = {}
    while any(left.values()):
        first = next(steps[0] for steps in left.values() if steps)
        same = {number: steps[0] for number, steps in left.items() if steps and steps[0].is_same_break(first)}
        # The latest end comes before the earliest start: nothing overlaps, and all keep their distances.
        bridge = max(step.before + moved.get(number, 0.0) - step.after for number, step in same.items())
        for number, step in same.items():
            left[number].pop(0)
            moved[number] = bridge
            shifts.setdefault(number, []).append(Shift(step.first, bridge))
    return {number: tuple(found) for number, found in shifts.items()}


def _steps(stamps: Sequence[Stamp]) -> list[_Step]:
    found = []
    end = stamps[0].end if stamps else 0.0
    for number, stamp in enumerate(stamps):
        if stamp.start < end - BACK_SECONDS or stamp.start > end + AHEAD_SECONDS:
            found.append(_Step(number, end, stamp.start))
            end = stamp.end
        end = max(end, stamp.end)
    return found


def _is_hole(
    step: _Step, number: int, streams: Mapping[int, Sequence[Stamp]], steps: Mapping[int, Sequence[_Step]]
) -> bool:
    """Whether another stream has packets in the time that this one leaves out, so that the clock itself went on."""
    if step.after < step.before:
        return False
    return any(
        step.before + 1 < stamp.start < step.after - 1
        for other, stamps in streams.items()
        if other != number
        for stamp in stamps
    )
