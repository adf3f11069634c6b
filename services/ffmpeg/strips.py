"""Subtitle strips: one area of every frame of a video, decoded once, each with its true time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from media.faults import FaultCode, MediaFault
from media.geometry import Picture, Region, Size
from media.graph import open_source
from media.packets import probe_timed
from media.probe import Clock, MediaFacts, VideoStream
from media.process import Progress, Runner, run_ffmpeg
from services.ffmpeg.decoders import Decoder
from services.ffmpeg.frame_choice import short_by, video_span
from services.ffmpeg.frame_times import read_times, with_times
from services.ffmpeg.frame_writing import PASSTHROUGH, shaped

LUMA_FILE = "strips.mkv"
_TIMES = "times.txt"
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
    facts = await probe_timed(runner, video)
    stream = facts.video(options.stream_index)
    picture = Picture.of(stream)
    area = _display_area(options, picture.display)
    size = Size(area.width, area.height)
    _, span = video_span(facts, stream)
    clock = facts.clock(stream)
    graph = _graph(video, stream, clock, picture.to_coded(area), size, options, decoder)
    await run_ffmpeg(
        runner, ffmpeg.compile(graph)[1:], progress=progress, span_seconds=lambda: span, cwd=folder
    )
    shift = clock.zero_seconds - facts.clock_origin_seconds
    times = tuple(read_times(folder / _TIMES, shift))
    (folder / _TIMES).unlink(missing_ok=True)
    if not times:
        raise MediaFault(FaultCode.NO_FRAMES, f"no frame of {facts.name} could be decoded")
    return Strips(
        times=times,
        facts=facts,
        stream=stream,
        area=area,
        display_size=picture.display,
        decoder=f"{stream.codec} ({decoder.value})",
        warnings=short_by(facts, stream, times[-1] - shift),
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


def _graph(
    video: Path,
    stream: VideoStream,
    clock: Clock,
    crop: Region,
    size: Size,
    options: StripOptions,
    decoder: Decoder,
) -> Any:
    threads = max(1, min(options.decode_threads, _MAX_DECODERS, os.cpu_count() or 1))
    opening: dict[str, Any] = {**clock.options(), "an": None, "sn": None, "dn": None, "threads": threads}
    frames = open_source(video, **opening, **decoder.options())[str(stream.index)]
    if not options.as_files:
        # The luma plane is taken as it lies in the frame: no colour conversion, no chroma.
        frames = frames.filter("extractplanes", "y")
    frames = with_times(shaped(frames, crop, size), _TIMES)
    if options.as_files:
        return ffmpeg.output(
            frames, "%08d.jpg", f="image2", **{"c:v": "mjpeg", "q:v": options.quality}, **PASSTHROUGH
        )
    return ffmpeg.output(
        frames, LUMA_FILE, f="matroska", **{"c:v": "ffv1", "level": 3, "g": 1}, **PASSTHROUGH
    )
