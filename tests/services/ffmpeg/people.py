"""Films as people have them, made small, and what can be seen and heard in the results."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from media.audio import AudioOptions, ExtractedAudio, extract_audio
from services.ffmpeg.frame_choice import KeyframeOptions, Mode
from services.ffmpeg.keyframes import Keyframes, extract_keyframes
from tests.media import measure
from tests.media.local_runner import LocalRunner

RATE = 16_000
FLASHES = (
    *("-f", "lavfi", "-i"),
    "color=black:s=320x180:r=25:d=6,drawbox=enable='between(mod(t,1),0,0.099)*gte(t,0.99)':color=white:t=fill",
)
"""Six seconds, white for a tenth of a second at 1, 2, 3, 4 and 5 s."""
BEEP = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.1)*gte(t,0.99)':s=44100:d=6"
BEEPS = ("-f", "lavfi", "-i", BEEP)
"""Six seconds, a tone for a tenth of a second at the same times."""
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def joined(target: Path, *parts: Path) -> Path:
    """Put files behind each other, as `cat` does."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def onsets(samples: NDArray[np.int16], rate: int = RATE) -> list[float]:
    """Return when beeps begin: sound after at least a quarter of a second of silence, in seconds."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 500)
    if not loud.size:
        return []
    firsts = [int(loud[0]), *(int(b) for a, b in pairwise(loud) if b - a > rate // 4)]
    return [round(first / rate, 3) for first in firsts]


async def sound_of(
    source: Path, folder: Path, **options: object
) -> tuple[ExtractedAudio, list[float], float]:
    """Extract a file's sound; returns what was said of it, its beeps, and its length in seconds."""
    target = folder / f"{source.name}.wav"
    taken = await extract_audio(LocalRunner(), source, target, AudioOptions(**options))  # type: ignore[arg-type]
    heard = measure.samples(target)
    return taken, onsets(heard), len(heard) / RATE


async def pictures_of(source: Path, folder: Path, **options: object) -> Keyframes:
    """Extract key frames of a file into a new folder."""
    place = folder / f"{source.name}-{len(list(folder.iterdir()))}"
    place.mkdir()
    options["mode"] = Mode(str(options.get("mode", "uniform")))
    return await extract_keyframes(LocalRunner(), source, place, KeyframeOptions(**options))  # type: ignore[arg-type]


async def at(source: Path, folder: Path, *instants: float) -> list[float]:
    """Return the times of the pictures that are shown at the instants."""
    taken = await pictures_of(source, folder, mode="timestamps", timestamps=instants)
    return times(taken)


def times(taken: Keyframes) -> list[float]:
    """Return the times of pictures."""
    return [round(frame.pts_seconds, 3) for frame in taken.frames]


def colour(path: Path) -> tuple[float, float, float]:
    """Return a picture's mean red, green and blue."""
    with Image.open(path) as picture:
        red, green, blue = np.asarray(picture.convert("RGB")).reshape(-1, 3).mean(axis=0)
    return float(red), float(green), float(blue)


async def first_flash(source: Path, folder: Path) -> float:
    """Return when a film's picture is first white."""
    taken = await pictures_of(source, folder, count=10_000, max_width=32)
    return next(frame.pts_seconds for frame in taken.frames if min(colour(frame.path)) > 128)
