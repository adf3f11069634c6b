"""The luma of one area of every frame of a film, each with its true time, out of one decode and without a file on disk.

ffmpeg writes pixels into one pipe and the timestamp of each frame into another, so that films of varying frame rate are read
right. It is a child of this process and in its session: whoever ends the process ends the decode.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from media.source import lock_arguments
from services.ocr.faults import FaultCode, OcrFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

Luma: TypeAlias = "NDArray[np.uint8]"
"""Rows × columns, 0 (black) to 255."""

_TICKS = 1_000_000


@dataclass(frozen=True)
class Area:
    """A rectangle in pixels of the upright picture as it is coded (the sample aspect ratio not applied)."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Film:
    """What the headers say of a film."""

    path: Path
    index: int
    """The video stream's number in the file."""
    width: int
    """Of the upright picture."""
    height: int
    duration_seconds: float
    """0 where the header does not say."""
    start_seconds: float
    """The container's first timestamp: what ffmpeg shows as 0."""
    subtitle_languages: tuple[str, ...]
    """Of the soft subtitle streams that the file carries; `und` where it does not say."""


@dataclass(frozen=True)
class Frame:
    """One frame's strip."""

    time: float
    """Seconds on the film's clock."""
    luma: Luma


def probe(path: Path) -> Film:
    """Read a film's headers. Raises OcrFault: MEDIA_UNREADABLE, NO_VIDEO_STREAM."""
    argv = ["ffprobe", "-v", "error", *lock_arguments(), "-show_format", "-show_streams", "-of", "json"]
    done = subprocess.run([*argv, "-i", f"file:{path}"], capture_output=True, check=False)
    if done.returncode != 0:
        raise OcrFault(
            FaultCode.MEDIA_UNREADABLE, f"{path.name} is not media that ffmpeg reads", "/video_path"
        )
    document = json.loads(done.stdout)
    streams = document.get("streams", [])
    videos = [one for one in streams if _is_moving(one)]
    if not videos:
        raise OcrFault(FaultCode.NO_VIDEO_STREAM, f"{path.name} has no moving picture", "/video_path")
    video = videos[0]
    turns = [side["rotation"] for side in video.get("side_data_list", []) if "rotation" in side]
    sides = (video["width"], video["height"])
    width, height = sides[::-1] if turns and abs(int(turns[0])) % 180 == 90 else sides
    subtitles = [one.get("tags", {}) for one in streams if one.get("codec_type") == "subtitle"]
    return Film(
        path=path,
        index=video["index"],
        width=width,
        height=height,
        duration_seconds=_number(document.get("format", {}).get("duration")),
        start_seconds=_number(document.get("format", {}).get("start_time")),
        subtitle_languages=tuple(tags.get("language", "und") for tags in subtitles),
    )


def _is_moving(stream: dict[str, Any]) -> bool:
    still = stream.get("disposition", {}).get("attached_pic")
    return stream.get("codec_type") == "video" and not still and bool(stream.get("width"))


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def frames(film: Film, area: Area, start_seconds: float = 0.0) -> Iterator[Frame]:
    """Yield the area of each frame in order, from the first one at or after `start_seconds`.

    Raises OcrFault (NO_FRAMES, MEDIA_UNREADABLE) when nothing can be decoded; a film that breaks later ends there.
    """
    receiver, sender = os.pipe()
    argv = _arguments(film, area, sender, start_seconds)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[sender])
    os.close(sender)
    size, count = area.width * area.height, 0
    assert process.stdout is not None
    try:
        with os.fdopen(receiver, "rb") as times:
            while len(pixels := process.stdout.read(size)) == size:
                count += 1
                luma = np.frombuffer(pixels, np.uint8).reshape(area.height, area.width)
                yield Frame(_next_time(times) / _TICKS + film.start_seconds, luma)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    if count == 0 and start_seconds == 0:
        raise OcrFault(FaultCode.NO_FRAMES, f"no frame of {film.path.name} could be decoded", "/video_path")


def _next_time(lines: Any) -> int:
    """Read on to the next frame's line, `frame:0 pts:0 pts_time:0`, and return its timestamp."""
    for line in lines:
        if line.startswith(b"frame:"):
            return int(line.split(b"pts:", 1)[1].split(None, 1)[0])
    raise OcrFault(FaultCode.MEDIA_UNREADABLE, "ffmpeg ended in the middle of a frame", "/video_path")


def _arguments(film: Film, area: Area, descriptor: int, start_seconds: float) -> list[str]:
    # The luma plane is taken as it lies in the frame; metadata=print says nothing of a frame without metadata, so it gets some.
    graph = [
        f"select='gte(t,{start_seconds - film.start_seconds - 1e-6:.6f})'",
        "extractplanes=y",
        f"crop={area.width}:{area.height}:{area.x}:{area.y}:exact=1",
        "format=gray",
        f"settb=1/{_TICKS}",
        "metadata=mode=add:key=yivideo:value=1",
        f"metadata=mode=print:key=yivideo:file=pipe\\\\:{descriptor}:direct=1",
    ]
    seek = max(0.0, start_seconds - film.start_seconds - 10)
    opening = ["-ss", f"{seek:.3f}", "-copyts", "-start_at_zero"] if seek else []
    reading = [
        *lock_arguments(),
        *opening,
        "-an",
        "-sn",
        "-dn",
        "-i",
        f"file:{film.path}",
        "-map",
        f"0:{film.index}",
    ]
    writing = ["-vf", ",".join(graph), "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    return ["ffmpeg", "-nostdin", "-v", "error", *reading, *writing]
