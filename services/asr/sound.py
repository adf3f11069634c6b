"""Samples of a recording, read where they are asked for, in a worker process: an hour of sound is mapped and never held whole."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.asr.decoding import SAMPLE_RATE

Samples = npt.NDArray[np.float32]


class Sound:
    """Samples of one file, read where they are asked for. Runs in a worker process."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        self._samples = np.memmap(path, dtype="<i2", mode="r") if size else np.zeros(0, dtype="<i2")

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self) / SAMPLE_RATE

    def between(self, start: float, end: float) -> Samples:
        """Return samples from -1 to 1 of a span in seconds."""
        first, last = (max(0, min(len(self), round(instant * SAMPLE_RATE))) for instant in (start, end))
        return self._samples[first:last].astype(np.float32) / 32768.0


def write_wav(path: Path, samples: Sequence[float] | Samples) -> None:
    """Write samples from -1 to 1 as a 16 kHz WAV; for tests and benches."""
    values = (np.clip(np.asarray(samples), -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(SAMPLE_RATE)
        target.writeframes(values.tobytes())
