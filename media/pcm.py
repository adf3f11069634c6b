"""Plain 16-bit samples on disk: where a WAV keeps them, how loud they are, how many are clipped."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL_SCALE = 32_767
"""A sample that reaches this height (either sign) counts as clipped."""

SAMPLE_BYTES = 2
_CHUNK_BYTES = 1 << 20
_FOLLOW_SECONDS = 0.05

Samples: TypeAlias = "NDArray[np.int16]"

_RIFF_LIMIT = 0xFFFF_FFFF
_HEAD_BYTES = 12 + 8 + 28 + 24 + 8


@dataclass(frozen=True)
class Levels:
    """How loud a piece of sound is."""

    frames: int
    """Samples per channel."""
    clipped_ratio: float
    """Share of the samples at full scale, 0 to 1."""
    rms_db: float | None
    """Root mean square over all channels in dBFS (a full-scale square wave is 0); None for digital silence."""


@dataclass
class LevelSum:
    """Adds up levels piece by piece, so that no piece needs to be large."""

    samples: int = 0
    clipped: int = 0
    energy: float = 0.0

    def add(self, samples: Samples) -> None:
        """Count some interleaved samples in."""
        heights = samples.astype(np.float32)
        self.samples += samples.size
        self.clipped += int(
            np.count_nonzero(samples >= FULL_SCALE) + np.count_nonzero(samples <= -FULL_SCALE)
        )
        self.energy += float(np.dot(heights, heights))

    def levels(self, channels: int) -> Levels:
        """Return what the pieces come to."""
        if not self.samples:
            return Levels(frames=0, clipped_ratio=0.0, rms_db=None)
        rms = math.sqrt(self.energy / self.samples) / (FULL_SCALE + 1)
        return Levels(
            frames=self.samples // channels,
            clipped_ratio=self.clipped / self.samples,
            rms_db=round(20 * math.log10(rms), 2) if rms > 0 else None,
        )


async def follow_levels(
    path: Path, channels: int, writing: asyncio.Future[Any], data_offset: Callable[[Path], int | None]
) -> Levels:
    """Measure a file while it is being written, so that nothing is left to wait for at its end.

    Args:
        writing: done when the file is whole, or will never be.
        data_offset: where the samples begin, in bytes; None while that is not written yet.
    """
    total = LevelSum()

    def add_from(position: int) -> int:
        with path.open("rb") as file:
            file.seek(position)
            chunk = file.read(_CHUNK_BYTES)
        samples = np.frombuffer(chunk, dtype="<i2", count=len(chunk) // SAMPLE_BYTES)
        total.add(samples)
        return samples.nbytes

    position: int | None = None
    while True:
        is_whole = writing.done()
        if position is None and await asyncio.to_thread(path.exists):
            position = data_offset(path)
        if position is not None:
            while read := await asyncio.to_thread(add_from, position):
                position += read
        if is_whole:
            return total.levels(channels)
        await asyncio.wait([writing], timeout=_FOLLOW_SECONDS)


def start_wave(file: BinaryIO, sample_rate: int, channels: int, frames: int = 0) -> None:
    """Write the head of a 16-bit WAV at the file's beginning; again with the true length at its end.

    It has room for the sizes of more than 4 GiB (RF64, EBU Tech 3306), and is a plain RIFF below that.
    """
    width = SAMPLE_BYTES * channels
    size = frames * width
    large = size + _HEAD_BYTES > _RIFF_LIMIT
    file.seek(0)
    whole = _RIFF_LIMIT if large else size + _HEAD_BYTES - 8
    sizes = struct.pack("<QQQI", size + _HEAD_BYTES - 8, size, frames, 0)
    file.write(struct.pack("<4sI4s", b"RF64" if large else b"RIFF", whole, b"WAVE"))
    file.write(struct.pack("<4sI", b"ds64" if large else b"JUNK", len(sizes)) + sizes)
    rates = (sample_rate, sample_rate * width, width, 8 * SAMPLE_BYTES)
    file.write(struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, *rates))
    file.write(struct.pack("<4sI", b"data", _RIFF_LIMIT if large else size))


def wave_data_offset(path: Path) -> int | None:
    """Return where the samples of a WAV (RIFF or RF64) begin, in bytes; None when its head is not there (yet)."""
    with path.open("rb") as file:
        magic = file.read(12)
        if len(magic) == 12 and magic[:4] in (b"RIFF", b"RF64") and magic[8:] == b"WAVE":
            while len(head := file.read(8)) == 8:
                name, size = struct.unpack("<4sI", head)
                if name == b"data":
                    return file.tell()
                file.seek(size + size % 2, 1)
    return None
