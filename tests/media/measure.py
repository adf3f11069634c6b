"""Makes and measures media for the tests, by ffmpeg's own tools and numpy, apart from the code under test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ffmpeg(*arguments: str | Path, cwd: Path | None = None) -> bytes:
    """Run ffmpeg and return its stdout."""
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, cwd=cwd).stdout


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return ffprobe's JSON."""
    command = ["ffprobe", "-v", "error", "-of", "json", *arguments, str(path)]
    document: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return document


def packet_times(path: Path, stream: str = "v:0", only_keys: bool = False) -> list[float]:
    """Return the presentation times of a stream's packets, sorted, as ffprobe tells them."""
    shown = ffprobe(path, "-select_streams", stream, "-show_entries", "packet=pts_time,flags")
    packets = [item for item in shown["packets"] if "K" in item["flags"] or not only_keys]
    return sorted(float(item["pts_time"]) for item in packets)


def audio_seconds(path: Path) -> float:
    """Return how much sound a file decodes to, counted in samples."""
    stream = ffprobe(path, "-show_streams", "-select_streams", "a:0")["streams"][0]
    raw = ffmpeg("-i", path, "-map", "0:a:0", "-f", "s16le", "-")
    return len(raw) / 2 / int(stream["channels"]) / int(stream["sample_rate"])


def samples(path: Path, rate: int = 16_000) -> NDArray[np.int16]:
    """Decode a file's first audio stream to mono."""
    raw = ffmpeg("-i", path, "-map", "0:a:0", "-ac", "1", "-ar", str(rate), "-f", "s16le", "-")
    return np.frombuffer(raw, dtype="<i2")


def picture(path: Path, pixel: str = "rgb24") -> NDArray[np.uint8]:
    """Decode one still picture to (height, width, 3), or (height, width) for `gray`."""
    stream = ffprobe(path, "-show_streams")["streams"][0]
    raw = ffmpeg("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", pixel, "-")
    shape = (stream["height"], stream["width"])
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape if pixel == "gray" else (*shape, 3))


def frames(
    path: Path, width: int, height: int, pixel: str = "rgb24", filters: str = "null"
) -> NDArray[np.uint8]:
    """Decode every frame of a video after some filters to (n, height, width[, 3])."""
    raw = ffmpeg(
        *("-i", path, "-map", "0:v:0", "-vf", filters, "-fps_mode", "passthrough"),
        *("-f", "rawvideo", "-pix_fmt", pixel, "-"),
    )
    shape = (-1, height, width) if pixel == "gray" else (-1, height, width, 3)
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def listing(folder: Path) -> dict[str, int]:
    """Return every file under a folder, by relative name, with its size in bytes, in order of names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
