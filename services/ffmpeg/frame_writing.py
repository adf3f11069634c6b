"""How a chosen frame becomes a file: cut out, stretched to its size on the screen, encoded, its time noted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from media.geometry import Region, Size
from media.probe import MediaFacts, VideoStream
from services.ffmpeg.frame_choice import KeyframeOptions
from services.ffmpeg.frame_hashes import HASH_SIDE
from services.ffmpeg.frame_times import with_times

PASSTHROUGH = {"fps_mode:v": "passthrough"}
"""Every frame that reaches the output is written once: none doubled, none dropped, to please a frame rate."""

_ENCODERS = {"jpg": "mjpeg", "webp": "libwebp", "png": "png"}


@dataclass(frozen=True)
class FrameJob:
    """One video, the options, and what was worked out from both."""

    video: Path
    folder: Path
    """Where pictures go; ffmpeg runs in it, so that its name is never read as a pattern."""
    facts: MediaFacts
    stream: VideoStream
    options: KeyframeOptions
    crop: Region
    """What to cut out, in coded pixels."""
    size: Size
    """What it is stretched to."""

    def opening(self) -> dict[str, Any]:
        """Return ffmpeg's input options."""
        turning: dict[str, Any] = {} if self.options.autorotate else {"noautorotate": None}
        return {**self.facts.clock(self.stream).options(), "an": None, "sn": None, "dn": None, **turning}


@dataclass(frozen=True)
class Names:
    """The files of one output, relative to the job's folder."""

    picture: str
    times: str
    hashes: str

    @classmethod
    def of_all(cls, job: FrameJob) -> Names:
        """Return the names when one output writes all pictures."""
        return cls(f"frame_%04d.{job.options.image_format}", "times.txt", "hashes.gray")

    @classmethod
    def of_one(cls, job: FrameJob, number: int) -> Names:
        """Return the names when an output writes one picture."""
        picture = f"frame_{number:04d}.{job.options.image_format}"
        return cls(picture, f"times_{number:04d}.txt", f"hashes_{number:04d}.gray")


def shaped(frames: Any, crop: Region, size: Size) -> Any:
    """Cut the coded region out and stretch it to its size on the screen."""
    frames = frames.filter("crop", crop.width, crop.height, crop.x, crop.y, exact=1)
    if (crop.width, crop.height) != (size.width, size.height):
        frames = frames.filter("scale", size.width, size.height)
    return frames.filter("setsar", 1)


def frame_outputs(frames: Any, job: FrameJob, names: Names, **limits: Any) -> list[Any]:
    """Return the outputs for the chosen frames: pictures and times, and small grey ones when duplicates are to go.

    `limits` are output options of ffmpeg, for example how many frames to write.
    """
    frames = with_times(shaped(frames, job.crop, job.size), names.times)
    outputs = []
    if job.options.dedup_distance is not None:
        both = frames.filter_multi_output("split")
        small = both[1].filter("scale", HASH_SIDE, HASH_SIDE, flags="area").filter("format", "gray")
        outputs.append(ffmpeg.output(small, names.hashes, f="rawvideo", **PASSTHROUGH, **limits))
        frames = both[0]
    pictures = {"f": "image2", "c:v": _ENCODERS[job.options.image_format], **_quality(job.options)}
    outputs.append(ffmpeg.output(frames, names.picture, **pictures, **PASSTHROUGH, **limits))
    return outputs


def _quality(options: KeyframeOptions) -> dict[str, Any]:
    match options.image_format:
        case "jpg":
            return {"q:v": options.quality}
        case "webp":
            return {"quality": 100 - 3 * (options.quality - 1)}
        case _:
            return {}
