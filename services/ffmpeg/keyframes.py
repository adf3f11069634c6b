"""Takes still pictures out of a video: which frames, at which true times, upright and with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from media.faults import FaultCode, MediaFault
from media.geometry import Picture, Region, Size, fitted
from media.look import Look
from media.probe import MediaFacts, VideoStream, probe
from media.process import Progress, Runner
from media.worker import absolute
from services.ffmpeg.film_warnings import film_warnings
from services.ffmpeg.frame_choice import KeyframeOptions
from services.ffmpeg.frame_hashes import distinct
from services.ffmpeg.frame_job import HASHES, PIXELS, FrameJob, end_of, run_job


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
    seeks: int
    """How often a stretch of the film was passed over undecoded."""
    duplicates_dropped: int = 0
    warnings: tuple[str, ...] = ()


async def extract_keyframes(
    runner: Runner,
    video: Path,
    folder: Path,
    options: KeyframeOptions,
    progress: Progress | None = None,
    *,
    seek: bool = True,
) -> Keyframes:
    """Write the chosen frames as `frame_0001.<format>` and so on into the empty `folder`.

    The film is decoded once, by one process; where few frames of a long film are wanted, only the stretches before them are
    (not with `seek` off).

    Raises:
        MediaFault: unreadable media, no video, an area or instants outside of it, or no frame.
    """
    facts = await probe(runner, video)
    stream = facts.video(options.stream_index)
    picture = Picture.of(stream, autorotate=options.autorotate, apply_sar=options.apply_sar)
    area = _area(options, picture.display)
    size = fitted(Size(area.width, area.height), options.max_width)
    look = Look(
        coded=Size(stream.width, stream.height),
        crop=picture.to_coded(area),
        size=size,
        pixels=PIXELS[options.image_format],
        upright=options.autorotate,
    )
    job = FrameJob(
        video=absolute(video),
        folder=absolute(folder),
        stream_index=stream.index,
        origin_seconds=facts.clock_origin_seconds,
        end_seconds=end_of(facts),
        has_free_clock=facts.has_free_clock,
        look=look,
        mode=options.mode.value,
        output=options.image_format,
        names=f"frame_%04d.{options.image_format}",
        quality=options.quality,
        count=options.count,
        fps=options.fps,
        scene_threshold=options.scene_threshold,
        timestamps=options.timestamps,
        hashes=options.dedup_distance is not None,
        seek=seek,
    )
    report = await run_job(runner, job, progress)
    taken = [
        Keyframe(folder / (job.names % number), seconds)
        for number, seconds in enumerate(report.times, start=1)
    ]
    if not taken:
        raise MediaFault(FaultCode.NO_FRAMES, f"no frame of {facts.name} could be decoded and chosen")
    kept = await _keep(runner, folder, options, taken)
    return Keyframes(
        frames=_renumber(kept),
        facts=report.complete(facts),
        stream=stream,
        frame_size=size,
        area=area,
        display_size=picture.display,
        seeks=report.seeks,
        duplicates_dropped=len(taken) - len(kept) if options.dedup_distance is not None else 0,
        warnings=await film_warnings(runner, video, facts, stream, report),
    )


def _area(options: KeyframeOptions, display: Size) -> Region:
    if options.area is None:
        return Region(0, 0, display.width, display.height)
    area = Region.named(options.area, display) if isinstance(options.area, str) else options.area
    return area.within(display)


async def _keep(
    runner: Runner, folder: Path, options: KeyframeOptions, taken: list[Keyframe]
) -> list[Keyframe]:
    kept = taken
    if options.dedup_distance is not None:
        hashes = folder / HASHES
        numbers: list[int] = await runner.call(distinct, hashes, options.dedup_distance)
        kept = [taken[number] for number in numbers]
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
