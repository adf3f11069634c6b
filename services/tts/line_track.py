"""Lines laid out on one track of the film's length, each as loud as the others. Runs in a worker process."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.float32]"
_LEVEL = 10 ** (-20 / 20)
"""Root mean square that every line's speech is brought to, of full scale."""
_MOST_GAIN = 10 ** (18 / 20)
_PEAK = 0.95
_FRAME_SECONDS = 0.02
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Placed:
    """One line of the track."""

    path: Path
    """WAV, 16 bit, one channel, of the track's rate."""
    start: float
    """Second at which it begins."""


def lay_out(lines: Sequence[Placed], target: Path, sample_rate: int, seconds: float) -> list[float]:
    """Write the track as a WAV; returns the second at which each line ends. Lines that overlap are heard together."""
    found = [
        (round(line.start * sample_rate), _levelled(_read(line.path, sample_rate), sample_rate))
        for line in lines
    ]
    length = max(
        [round(seconds * sample_rate), *(begin + len(samples) for begin, samples in found)], default=0
    )
    with wave.open(str(target), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        for at in range(0, length, _BLOCK):
            block = np.zeros(min(_BLOCK, length - at), np.float32)
            for begin, samples in found:
                low, high = max(begin, at), min(begin + len(samples), at + len(block))
                if low < high:
                    block[low - at : high - at] += samples[low - begin : high - begin]
            out.writeframesraw((np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())
    return [(begin + len(samples)) / sample_rate for begin, samples in found]


def _read(path: Path, sample_rate: int) -> Samples:
    with wave.open(str(path)) as source:
        if (source.getframerate(), source.getnchannels(), source.getsampwidth()) != (sample_rate, 1, 2):
            raise ValueError(f"{path.name} is not of the track's form")
        samples = np.frombuffer(source.readframes(source.getnframes()), "<i2").astype(np.float32)
        return samples * np.float32(1 / 32768)


def _levelled(samples: Samples, sample_rate: int) -> Samples:
    """Bring the speech of a line, without the pauses in it, to the level of all lines."""
    size = max(1, int(_FRAME_SECONDS * sample_rate))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(frames):
        return samples
    power = np.mean(frames**2, axis=1)
    spoken = power[power > np.max(power) * 1e-3]
    if not len(spoken) or not np.max(power):
        return samples
    gain = min(_LEVEL / float(np.sqrt(np.mean(spoken))), _MOST_GAIN, _PEAK / float(np.max(np.abs(samples))))
    return (samples * np.float32(gain)).astype(np.float32)
