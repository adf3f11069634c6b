"""A recording as the engines hear it: 16 kHz, one channel, read from disk piece by piece so that its length costs no memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from media.pcm import SAMPLE_BYTES, wave_data_offset

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
_SCALE = 1 / 32_768

Samples: TypeAlias = "NDArray[np.float32]"


class Sound:
    """A 16-bit mono WAV of 16 kHz."""

    def __init__(self, path: Path) -> None:
        self._path = path
        offset = wave_data_offset(path)
        if offset is None:
            raise ValueError(f"{path.name} is no WAV")
        self._offset = offset
        self.length = (path.stat().st_size - offset) // SAMPLE_BYTES
        """Samples."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.length / SAMPLE_RATE

    def read(self, start: int, count: int) -> Samples:
        """Return `count` samples from -1 to 1; what lies outside of the recording is silence."""
        samples = np.zeros(count, np.float32)
        first, last = max(start, 0), min(start + count, self.length)
        if first < last:
            found = np.fromfile(
                self._path, "<i2", count=last - first, offset=self._offset + first * SAMPLE_BYTES
            )
            samples[first - start : first - start + len(found)] = found * np.float32(_SCALE)
        return samples
