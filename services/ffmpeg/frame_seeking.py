"""A few frames of a long film: only the stretches before them are decoded, instead of all of it.

Each frame costs the decoding of what lies between it and the key frame before it, plus the opening of the file;
whether that is less than one pass over the film is reckoned from the key frames' spacing in its first minute.
"""

from __future__ import annotations

from collections.abc import Sequence

import ffmpeg

from media.faults import MediaFault
from media.graph import open_source
from media.packets import key_spacing_seconds
from media.process import Progress, Runner, run_ffmpeg
from services.ffmpeg.frame_choice import DEFAULT_COUNT, SLACK_SECONDS, Mode, video_span
from services.ffmpeg.frame_writing import FrameJob, Names, frame_outputs

_OPENING_COSTS_SECONDS = 1.5
"""Opening the file once more takes about as long as decoding this much film."""
_WORTH_IT = 0.5
"""Seeking is chosen when it is reckoned to cost less than this share of a whole pass."""
_INPUTS_AT_ONCE = 8
_LONG_SECONDS = 30.0
"""For shorter films the reckoning costs more than it can save."""


async def seek_targets(runner: Runner, job: FrameJob, exact: Sequence[float]) -> list[float]:
    """Return where to seek, in seconds as filters see them; empty when one pass over the film is better.

    `exact` are the frames' own times in mode timestamps.
    """
    start, span = video_span(job.facts, job.stream)
    wanted = _wanted(job, exact, start, span)
    # In formats whose clock starts anywhere a seek lands where it likes.
    if not wanted or span is None or span < _LONG_SECONDS or job.facts.has_free_clock:
        return []
    spacing = await key_spacing_seconds(runner, job.video, job.stream.index)
    seeking = len(wanted) * ((spacing if spacing is not None else span) / 2 + _OPENING_COSTS_SECONDS)
    whole = (wanted[-1] - start) if exact else span
    return wanted if seeking < whole * _WORTH_IT else []


def _wanted(job: FrameJob, exact: Sequence[float], start: float, span: float | None) -> list[float]:
    options = job.options
    if options.mode is Mode.TIMESTAMPS:
        return list(exact)
    if options.mode is not Mode.UNIFORM or options.fps is not None or span is None:
        return []
    count = options.count or DEFAULT_COUNT
    return [start + number * span / count for number in range(count)]


async def seek_frames(
    runner: Runner, job: FrameJob, targets: Sequence[float], progress: Progress | None
) -> bool:
    """Write the first frame at or after each target, several per ffmpeg, with the container's own times.

    False when ffmpeg could not do it: the film must then be decoded in one pass.
    """
    opening = {**job.opening(), "copyts": None}
    done = 0
    for first in range(0, len(targets), _INPUTS_AT_ONCE):
        outputs = []
        for number, target in enumerate(targets[first : first + _INPUTS_AT_ONCE], start=first + 1):
            begin = max(0.0, target - SLACK_SECONDS)
            frames = open_source(job.video, ss=f"{begin:.6f}", **opening)[str(job.stream.index)]
            outputs += frame_outputs(frames, job, Names.of_one(job, number), **{"frames:v": 1})
            done += 1
        try:
            await run_ffmpeg(runner, ffmpeg.compile(ffmpeg.merge_outputs(*outputs))[1:], cwd=job.folder)
        except MediaFault:
            return False
        if progress:
            await progress(done / len(targets))
    return True
