"""Takes still pictures out of a video: which frames, at which true times, upright and with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from media.faults import FaultCode, MediaFault
from media.geometry import Picture, Region, Size, fitted
from media.graph import open_source
from media.packets import probe_timed
from media.probe import MediaFacts, VideoStream
from media.process import Progress, Runner, run_ffmpeg
from services.ffmpeg.frame_choice import (
    SLACK_SECONDS,
    KeyframeOptions,
    Mode,
    choice,
    instants,
    short_by,
    video_span,
)
from services.ffmpeg.frame_hashes import distinct
from services.ffmpeg.frame_seeking import seek_frames, seek_targets
from services.ffmpeg.frame_times import read_times
from services.ffmpeg.frame_writing import PASSTHROUGH, FrameJob, Names, frame_outputs


@dataclass(frozen=True)
class Keyframe:
    """One picture on disk."""

    path: Path
    pts_seconds: float


@dataclass(frozen=True)
class Keyframes:
    """What was taken out of the video."""

    frames: tuple[Keyframe, ...]
    facts: MediaFacts
    stream: VideoStream
    frame_size: Size
    """Pixels of every picture written."""
    area: Region
    """What was cut out, in display pixels."""
    display_size: Size
    duplicates_dropped: int = 0
    warnings: tuple[str, ...] = ()


async def extract_keyframes(
    runner: Runner, video: Path, folder: Path, options: KeyframeOptions, progress: Progress | None = None
) -> Keyframes:
    """Write the chosen frames as `frame_0001.<format>` and so on into the empty `folder`.

    The video is decoded once, by one ffmpeg; where a few frames of a long film are wanted, only the stretches
    before them are.

    Raises:
        MediaFault: unreadable media, no video, an area or instants outside of it, or no frame.
    """
    facts = await probe_timed(runner, video)
    stream = facts.video(options.stream_index)
    picture = Picture.of(stream, autorotate=options.autorotate, apply_sar=options.apply_sar)
    area = _area(options, picture.display)
    size = fitted(Size(area.width, area.height), options.max_width)
    job = FrameJob(video, folder, facts, stream, options, picture.to_coded(area), size)
    exact = await instants(runner, video, facts, stream, options)
    targets = await seek_targets(runner, job, exact)
    taken = await _sought(runner, job, targets, progress) if targets else None
    warnings: tuple[str, ...] = ()
    if taken is None:
        taken, warnings = await _passed(runner, job, exact, progress)
    if not taken:
        raise MediaFault(FaultCode.NO_FRAMES, f"no frame of {facts.name} could be decoded and chosen")
    kept = await _keep(runner, job, taken)
    return Keyframes(
        frames=_renumber(kept),
        facts=facts,
        stream=stream,
        frame_size=size,
        area=area,
        display_size=picture.display,
        duplicates_dropped=len(taken) - len(kept) if options.dedup_distance is not None else 0,
        warnings=warnings,
    )


async def _passed(
    runner: Runner, job: FrameJob, exact: tuple[float, ...], progress: Progress | None
) -> tuple[list[Keyframe], tuple[str, ...]]:
    """Decode the film once and choose while it passes."""
    start, span = video_span(job.facts, job.stream)
    clock = job.facts.clock(job.stream)
    graph = _graph(job, start, span, exact)
    ran = await run_ffmpeg(
        runner, ffmpeg.compile(graph)[1:], progress=progress, span_seconds=lambda: span, cwd=job.folder
    )
    names = Names.of_all(job)
    shift = clock.zero_seconds - job.facts.clock_origin_seconds
    times = list(read_times(job.folder / names.times, shift))
    (job.folder / names.times).unlink(missing_ok=True)
    files = [job.folder / Names.of_one(job, number).picture for number in range(1, len(times) + 1)]
    taken = [Keyframe(file, pts) for file, pts in zip(files, times, strict=True) if file.exists()]
    saw_all = job.options.mode in (Mode.UNIFORM, Mode.SCENE) and not clock.raw
    return taken, short_by(job.facts, job.stream, ran.clock_seconds if saw_all else None)


def _graph(job: FrameJob, start: float, span: float | None, exact: tuple[float, ...]) -> Any:
    opening = job.opening()
    if job.options.mode is Mode.IFRAME:
        opening["skip_frame"] = "nokey"
    frames = open_source(job.video, **opening)[str(job.stream.index)]
    if exact:
        frames = frames.filter("trim", end=f"{exact[-1] + SLACK_SECONDS:.6f}")
    branches = frames.filter_multi_output("split")
    # The first branch writes nothing: it only lets ffmpeg's clock follow the decoder instead of the choice.
    clock = ffmpeg.output(branches[0], "-", f="null", **PASSTHROUGH)
    chosen = branches[1]
    if job.options.mode is not Mode.IFRAME:
        chosen = chosen.filter("select", choice(job.options, start, span, exact))
    return ffmpeg.merge_outputs(clock, *frame_outputs(chosen, job, Names.of_all(job)))


async def _sought(
    runner: Runner, job: FrameJob, targets: list[float], progress: Progress | None
) -> list[Keyframe] | None:
    """Seek to each frame; None, and an empty folder, when not every target gave a frame of its own."""
    is_done = await seek_frames(runner, job, targets, progress)
    taken: list[Keyframe] = []
    hashes = bytearray()
    for number in range(1, len(targets) + 1 if is_done else 1):
        names = Names.of_one(job, number)
        # ffmpeg filters a frame or two more than it then writes.
        first = next(read_times(job.folder / names.times, -job.facts.clock_origin_seconds), None)
        if first is not None:
            taken.append(Keyframe(job.folder / names.picture, first))
        if job.options.dedup_distance is not None and (job.folder / names.hashes).exists():
            hashes += (job.folder / names.hashes).read_bytes()
    whole = len({frame.pts_seconds for frame in taken}) == len(targets) and taken[-1].path.exists()
    for path in job.folder.iterdir():
        if not whole or path.suffix != f".{job.options.image_format}":
            path.unlink()
    if whole and job.options.dedup_distance is not None:
        (job.folder / Names.of_all(job).hashes).write_bytes(hashes)
    return taken if whole else None


def _area(options: KeyframeOptions, display: Size) -> Region:
    if options.area is None:
        return Region(0, 0, display.width, display.height)
    area = Region.named(options.area, display) if isinstance(options.area, str) else options.area
    return area.within(display)


async def _keep(runner: Runner, job: FrameJob, taken: list[Keyframe]) -> list[Keyframe]:
    kept, options = taken, job.options
    if options.dedup_distance is not None:
        hashes = job.folder / Names.of_all(job).hashes
        numbers: list[int] = await runner.call(distinct, hashes, options.dedup_distance)
        kept = [taken[number] for number in numbers if number < len(taken)]
        hashes.unlink()
    if options.count is not None and len(kept) > options.count:
        step = Fraction(len(kept), options.count)
        kept = [kept[int(turn * step)] for turn in range(options.count)]
    names = {frame.path for frame in kept}
    for frame in taken:
        if frame.path not in names:
            frame.path.unlink()
    return kept


def _renumber(frames: list[Keyframe]) -> tuple[Keyframe, ...]:
    """Close the gaps that dropped frames have left in the names."""
    renamed = []
    for number, frame in enumerate(frames, start=1):
        path = frame.path.with_stem(f"frame_{number:04d}")
        if path != frame.path:
            frame.path.rename(path)
        renamed.append(Keyframe(path, frame.pts_seconds))
    return tuple(renamed)
