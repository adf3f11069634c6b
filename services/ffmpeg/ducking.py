"""A voice over a bed of other sound, which steps back by so many decibels while somebody speaks. Runs in a worker process.

A compressor driven by the voice ducks by what the voice happens to be loud (13 to 17 dB with the settings that go round); here the
bed's gain is drawn from when there is a voice: exactly as deep as asked, there before the first word and not gone between words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values: TypeAlias = "NDArray[np.float32]"
RATE = 48_000
CHANNELS = 2
_FRAME = RATE // 100
"""Samples of one decision, 10 ms."""
_BLOCK_FRAMES = 3_000
_ABOVE_FLOOR = 10 ** (-45 / 20)
"""Level of a voice track, of full scale, from which somebody speaks."""


@dataclass(frozen=True)
class Ducking:
    """How the bed steps back."""

    depth_db: float
    attack_seconds: float
    """How long it takes to go; it is down when the voice begins."""
    release_seconds: float
    """How long it takes to come back."""
    hold_seconds: float
    """Pause of the voice up to which it stays down."""


def mix(
    bed: Path, voice: Path, target: Path, frames: int, bed_gain: float, voice_gain: float, ducking: Ducking
) -> float:
    """Write voice and bed as stereo floats of RATE; returns the share of the time that somebody speaks.

    `bed` is raw 16-bit stereo and `voice` raw 16-bit mono of RATE; both are cut, or go on in silence, to so many samples.
    """
    depth = _depths(voice, frames, ducking)
    full = 10 ** (-ducking.depth_db / 20)
    with bed.open("rb") as low, voice.open("rb") as high, target.open("wb") as out:
        for first in range(0, frames, _BLOCK_FRAMES * _FRAME):
            size = min(_BLOCK_FRAMES * _FRAME, frames - first)
            place = (first + np.arange(size)) / _FRAME
            share = np.interp(place, np.arange(len(depth)) + 0.5, depth)
            # The way down and up is straight in decibels, as it is heard.
            gain = (bed_gain * full**share).astype(np.float32)
            under = _take(low, size, CHANNELS) * gain[:, None]
            over = _take(high, size, 1) * np.float32(voice_gain)
            out.write((under + over).astype("<f4").tobytes())
    return float(np.mean(depth >= 1.0)) if len(depth) else 0.0


def _take(file: object, samples: int, channels: int) -> Values:
    """Read samples; what the file does not have is silence."""
    body = file.read(samples * channels * 2)  # type: ignore[attr-defined]
    found = np.frombuffer(body, "<i2", count=len(body) // 2).astype(np.float32) * np.float32(1 / 32768)
    return np.pad(found, (0, samples * channels - len(found))).reshape(samples, channels)


def _depths(voice: Path, frames: int, ducking: Ducking) -> Values:
    """Return how far the bed is down in each 10 ms, 0 to 1."""
    count = -(-frames // _FRAME)
    level = np.zeros(count, np.float32)
    with voice.open("rb") as file:
        for first in range(0, count, _BLOCK_FRAMES):
            size = min(_BLOCK_FRAMES, count - first)
            block = _take(file, size * _FRAME, 1).reshape(size, _FRAME)
            level[first : first + size] = np.sqrt(np.mean(block**2, axis=1))
    spoken = np.flatnonzero(level > _ABOVE_FLOOR)
    depth = np.zeros(count, np.float32)
    hold = round(ducking.hold_seconds * RATE / _FRAME)
    for begin, end in _stretches(spoken, hold):
        depth[begin:end] = 1.0
    _ramp(depth, ducking.release_seconds)
    _ramp(depth[::-1], ducking.attack_seconds)
    return depth


def _stretches(spoken: NDArray[np.int64], hold: int) -> list[tuple[int, int]]:
    if not len(spoken):
        return []
    cuts = np.flatnonzero(np.diff(spoken) > hold)
    begins = [spoken[0], *spoken[cuts + 1]]
    ends = [*spoken[cuts], spoken[-1]]
    return [(int(begin), int(end) + 1) for begin, end in zip(begins, ends, strict=True)]


def _ramp(depth: Values, seconds: float) -> None:
    """Let each value fall behind the one before it by no more than the ramp allows; in place."""
    step = 1.0 / max(1.0, seconds * RATE / _FRAME)
    last = 0.0
    for number in range(len(depth)):
        last = max(float(depth[number]), last - step)
        depth[number] = last
