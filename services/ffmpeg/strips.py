"""Subtitle strips: one area of every frame of a video, decoded once, each with its true time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from media.faults import FaultCode, MediaFault
from media.geometry import Picture, Region, Size
from media.look import Look
from media.probe import MediaFacts, VideoStream, probe
from media.process import Progress, Runner
from media.worker import absolute
from services.ffmpeg.decoders import Decoder
from services.ffmpeg.film_warnings import film_warnings
from services.ffmpeg.frame_job import EVERY, PIXELS, FrameJob, end_of, run_job

LUMA_FILE = "strips.mkv"
STRIP_NAMES = "%08d.jpg"
_MAX_DECODERS = 10


@dataclass(frozen=True)
class StripOptions:
    """Which part of the picture, and how it is kept."""

    area: Region
    """In pixels of `area_frame`."""
    area_frame: Size | None = None
    """The size of the picture in which the area was measured; None: the film's own display size."""
    as_files: bool = True
    """A colour JPEG per frame; else one lossless file that holds the luma plane alone."""
    quality: int = 2
    decode_threads: int = _MAX_DECODERS
    stream_index: int | None = None


@dataclass(frozen=True)
class Strips:
    """What was cut out."""

    times: tuple[float, ...]
    """When each strip is shown, in seconds on the film's clock; strip 1 first."""
    facts: MediaFacts
    stream: VideoStream
    area: Region
    """In display pixels, after clamping to the picture."""
    display_size: Size
    decoder: str
    warnings: tuple[str, ...]


async def cut_strips(
    runner: Runner,
    video: Path,
    folder: Path,
    options: StripOptions,
    decoder: Decoder,
    progress: Progress | None = None,
) -> Strips:
    """Write `00000001.jpg` and so on, or `strips.mkv`, into the empty `folder`.

    Raises:
        MediaFault: unreadable media, no video, an area outside of the picture, or no frame.
    """
    facts = await probe(runner, video)
    stream = facts.video(options.stream_index)
    picture = Picture.of(stream)
    area = _display_area(options, picture.display)
    output = "jpg" if options.as_files else "luma"
    look = Look(
        coded=Size(stream.width, stream.height),
        crop=picture.to_coded(area),
        size=Size(area.width, area.height),
        pixels=PIXELS[output],
    )
    job = FrameJob(
        video=absolute(video),
        folder=absolute(folder),
        stream_index=stream.index,
        origin_seconds=facts.clock_origin_seconds,
        end_seconds=end_of(facts),
        has_free_clock=facts.has_free_clock,
        look=look,
        mode=EVERY,
        output=output,
        names=STRIP_NAMES if options.as_files else LUMA_FILE,
        quality=options.quality,
        threads=max(1, min(options.decode_threads, _MAX_DECODERS, os.cpu_count() or 1)),
        cuda=decoder is Decoder.CUDA,
    )
    report = await run_job(runner, job, progress)
    if not report.times:
        raise MediaFault(FaultCode.NO_FRAMES, f"no frame of {facts.name} could be decoded")
    return Strips(
        times=report.times,
        facts=report.complete(facts),
        stream=stream,
        area=area,
        display_size=picture.display,
        decoder=f"{stream.codec} ({report.decoder})",
        warnings=await film_warnings(runner, video, facts, stream, report),
    )


def _display_area(options: StripOptions, display: Size) -> Region:
    """Bring the area into display pixels and into the picture."""
    area = options.area
    if options.area_frame is not None and options.area_frame != display:
        measured = options.area_frame
        area = area.within(measured).scaled(
            Fraction(display.width, measured.width), Fraction(display.height, measured.height)
        )
    return area.within(display)
