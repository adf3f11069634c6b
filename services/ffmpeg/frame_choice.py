"""Which frames of a video become key frames: the options, and the decision as ffmpeg's `select` makes it.

It refuses to know how a frame is written. Times are those of ffmpeg's `t`, where `MediaFacts.clock` puts its zero.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from media.faults import FaultCode, MediaFault
from media.geometry import Region
from media.packets import packet_times
from media.probe import MediaFacts, VideoStream
from media.process import Runner

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


def choice(
    options: KeyframeOptions, start_seconds: float, span_seconds: float | None, instants: tuple[float, ...]
) -> str:
    """Return the `select` expression: non-zero for a frame that is to be kept."""
    if options.mode is Mode.SCENE:
        return f"eq(n,0)+gt(scene,{options.scene_threshold})"
    if options.mode is Mode.TIMESTAMPS:
        return "+".join(f"lt(abs(t-{instant:.6f}),{SLACK_SECONDS})" for instant in instants)
    since = f"(t-{start_seconds:.6f}+{SLACK_SECONDS})"
    if options.fps is not None:
        before = f"(prev_selected_t-{start_seconds:.6f}+{SLACK_SECONDS})"
        return f"isnan(prev_selected_t)+gt(floor({since}*{options.fps}),floor({before}*{options.fps}))"
    count = options.count or DEFAULT_COUNT
    step = (span_seconds or 0.0) / count
    # Frames even in time; when there are fewer than asked, every one of them is ahead of its turn and taken.
    return f"lt(selected_n,{count})*gte({since},selected_n*{step:.9f})"


async def instants(
    runner: Runner, video: Path, facts: MediaFacts, stream: VideoStream, options: KeyframeOptions
) -> tuple[float, ...]:
    """Return the times of the frames that are on the screen at the asked timestamps, each once, in order.

    Raises:
        MediaFault: RANGE_OUTSIDE_MEDIA when one of the timestamps is behind the end.
    """
    if options.mode is not Mode.TIMESTAMPS:
        return ()
    times = await packet_times(runner, video, stream.index)
    origin = facts.clock_origin_seconds
    end = max(facts.first_seconds + (facts.duration_seconds or 0.0), *times[-1:], 0.0) - origin
    for asked in options.timestamps:
        if asked > end or not times:
            raise MediaFault(
                FaultCode.RANGE_OUTSIDE_MEDIA,
                f"timestamp {asked:g} s is past the end of {facts.name} ({end:.3f} s)",
            )
    shown = {_shown_at(times, asked + origin) for asked in options.timestamps}
    return tuple(sorted(time - facts.clock(stream).zero_seconds for time in shown))


def _shown_at(times: list[float], instant: float) -> float:
    return times[max(0, bisect_right(times, instant + SLACK_SECONDS) - 1)]


def video_span(facts: MediaFacts, stream: VideoStream) -> tuple[float, float | None]:
    """Return when the stream starts and how long it lasts, the latter None if nothing says so."""
    zero = facts.clock(stream).zero_seconds
    start = 0.0 if stream.start_seconds is None else stream.start_seconds - zero
    if stream.duration_seconds is not None:
        return start, stream.duration_seconds
    if facts.duration_seconds is None:
        return start, None
    return start, max(0.0, facts.first_seconds + facts.duration_seconds - zero - start)


def short_by(facts: MediaFacts, stream: VideoStream, clock_seconds: float | None) -> tuple[str, ...]:
    """Return a warning when the last time that was decoded (None: not known) lies well before the end that the header promises."""
    start, span = video_span(facts, stream)
    # A film's last frame may rightly stand still for a while: only a real loss is spoken of.
    if span is None or clock_seconds is None or clock_seconds >= start + span - max(1.0, span * 0.05):
        return ()
    return (f"{facts.name} promises {start + span:.3f} s of pictures and holds {clock_seconds:.3f} s",)
