"""The JSON beside a folder of frames: the true time of each, and how its pixels relate to the film's."""

from __future__ import annotations

from typing import Any

from media.geometry import Region, Size
from media.probe import MediaFacts, VideoStream
from services.ffmpeg.keyframes import Keyframes
from services.ffmpeg.strips import LUMA_FILE, Strips


def keyframe_manifest(taken: Keyframes, mode: str) -> dict[str, Any]:
    """Describe key frames."""
    metadata = _film(taken.facts, taken.stream, taken.area, taken.display_size, taken.frame_size)
    frames = [
        {"index": number, "file": frame.path.name, "pts_seconds": frame.pts_seconds}
        for number, frame in enumerate(taken.frames, start=1)
    ]
    return {"metadata": {"mode": mode, **metadata}, "frames": frames}


def strip_manifest(taken: Strips, as_files: bool) -> dict[str, Any]:
    """Describe subtitle strips; without files of their own all frames lie in one video."""
    size = Size(taken.area.width, taken.area.height)
    metadata = _film(taken.facts, taken.stream, taken.area, taken.display_size, size)
    frames = [
        {
            "frame_idx": number,
            "file": f"{number:08d}.jpg" if as_files else LUMA_FILE,
            "pts_seconds": pts_seconds,
        }
        for number, pts_seconds in enumerate(taken.times, start=1)
    ]
    return {"metadata": {"decoder": taken.decoder, **metadata}, "frames": frames}


def _film(facts: MediaFacts, stream: VideoStream, area: Region, display: Size, frame: Size) -> dict[str, Any]:
    return {
        "stream_index": stream.index,
        "codec": stream.codec,
        "duration_seconds": facts.duration_seconds,
        "clock_origin_seconds": facts.clock_origin_seconds,
        "coded_size": [stream.width, stream.height],
        "sample_aspect_ratio": [
            stream.sample_aspect_ratio.numerator,
            stream.sample_aspect_ratio.denominator,
        ],
        "rotation_degrees": stream.rotation,
        "display_size": [display.width, display.height],
        "area": area.corners(),
        "frame_size": [frame.width, frame.height],
    }
