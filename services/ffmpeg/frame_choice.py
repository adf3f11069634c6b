"""Which frames of a video become key frames: the options, and the decision over the times of all its frames.

It refuses to know how a frame is decoded or written. Times are seconds on the film's clock, in the order of showing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from media.faults import FaultCode, MediaFault
from media.geometry import Region

DEFAULT_COUNT = 100
SLACK_SECONDS = 0.0005
"""Half a millisecond: less than any frame lasts, more than any rounding of a timestamp."""


class Mode(StrEnum):
    """How frames are chosen."""

    UNIFORM = "uniform"
    IFRAME = "iframe"
    SCENE = "scene"
    TIMESTAMPS = "timestamps"


@dataclass(frozen=True)
class KeyframeOptions:
    """Which frames and how they are written; times in seconds on the film's clock."""

    mode: Mode = Mode.UNIFORM
    count: int | None = None
    """The most frames to keep; None is 100 for `uniform` without `fps`, else no limit."""
    fps: float | None = None
    """For `uniform`: frames per second of film, instead of a count for the whole of it."""
    scene_threshold: float = 0.3
    timestamps: tuple[float, ...] = ()
    max_width: int | None = None
    image_format: str = "jpg"
    quality: int = 2
    """2 is the best JPEG, 31 the worst; WebP gets the matching quality of its own scale."""
    area: Region | str | None = None
    """What to cut out, in display pixels, or a name of `geometry.NAMED_AREAS`."""
    dedup_distance: int | None = None
    autorotate: bool = True
    apply_sar: bool = True
    stream_index: int | None = None


def at_rate(times: Sequence[float], fps: float) -> list[int]:
    """Return the numbers of the frames that are the first in their slot of 1/fps seconds after the first frame."""
    chosen: list[int] = []
    last = -1
    for number, time in enumerate(times):
        slot = int((time - times[0] + SLACK_SECONDS) * fps)
        if slot > last:
            chosen.append(number)
            last = slot
    return chosen


def evenly(times: Sequence[float], end: float, count: int) -> list[int]:
    """Return the numbers of exactly `count` frames, even in time between the first frame and `end`; all when there are fewer.

    Where a stretch has too few frames for its share, the nearest ones beside it are taken.
    """
    count = min(count, len(times))
    step = (end - times[0]) / count if times else 0.0
    chosen: list[int] = []
    for turn in range(count):
        due = bisect_left(times, times[0] + turn * step - SLACK_SECONDS)
        earliest = chosen[-1] + 1 if chosen else 0
        chosen.append(min(max(due, earliest), len(times) - (count - turn)))
    return chosen


def shown_at(times: Sequence[float], instants: Sequence[float], end: float, name: str) -> list[int]:
    """Return the numbers of the frames that are on the screen at the asked instants, each once, in order.

    Raises:
        MediaFault: RANGE_OUTSIDE_MEDIA when one of the instants is behind `end`.
    """
    end = max([end, *times[-1:]])
    for asked in instants:
        if asked > end or not times:
            raise MediaFault(
                FaultCode.RANGE_OUTSIDE_MEDIA,
                f"timestamp {asked:g} s is past the end of {name} ({end:.3f} s)",
            )
    return sorted({max(0, bisect_right(times, asked + SLACK_SECONDS) - 1) for asked in instants})
