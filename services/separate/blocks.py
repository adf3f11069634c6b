"""Sound as blocks of samples in plain float files, so that its length costs disk and no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Block: TypeAlias = "NDArray[np.float32]"
"""Samples from -1 to 1 (more where a recording is hotter), shape (samples, channels)."""

BLOCK_SAMPLES = 1 << 16


def read_blocks(path: Path, channels: int, size: int = BLOCK_SAMPLES, first: int = 0) -> Iterator[Block]:
    """Yield the interleaved 32-bit float samples of a file, from the one numbered `first` on.

    Each block but the last has `size` of every channel.
    """
    with path.open("rb") as file:
        file.seek(first * channels * 4)
        while body := file.read(size * channels * 4):
            yield np.frombuffer(body, "<f4", count=len(body) // 4 // channels * channels).reshape(
                -1, channels
            )


def count_samples(path: Path, channels: int) -> int:
    """Return how many samples of every channel a file has."""
    return path.stat().st_size // (4 * channels)


def write_blocks(path: Path, blocks: Iterable[Block]) -> int:
    """Write blocks one after another; return the samples of every channel."""
    written = 0
    with path.open("wb") as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").tobytes())
            written += len(block)
    return written


def of_length(blocks: Iterable[Block], samples: int, channels: int) -> Iterator[Block]:
    """Yield exactly so many samples: what is too much is cut off, what is missing is silence."""
    left = samples
    for block in blocks:
        if left <= 0:
            return
        yield block[:left]
        left -= len(block)
    while left > 0:
        size = min(left, BLOCK_SAMPLES)
        yield np.zeros((size, channels), np.float32)
        left -= size
