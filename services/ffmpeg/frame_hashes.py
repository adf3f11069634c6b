"""Perceptual hashes: which of many small grey pictures look like the one before.

The hash is the sign of the lowest 8 x 8 DCT coefficients against their median (Zauner 2010, pHash), 64 bits;
a Hamming distance of up to 4 means the same picture to the eye.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_SIDE = 32
"""Width and height of the grey pictures, in pixels."""

_KEPT = 8
_BATCH = 512


@cache
def _cosines() -> NDArray[np.float32]:
    """Return the first rows of the DCT-II matrix."""
    rows, columns = np.mgrid[0:_KEPT, 0:HASH_SIDE]
    matrix: NDArray[np.float32] = np.cos(np.pi * rows * (2 * columns + 1) / (2 * HASH_SIDE)).astype(
        np.float32
    )
    return matrix


def hash_bits(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return one row of 64 bits per picture; `pictures` has the shape (n, 32, 32)."""
    cosines = _cosines()
    low = cosines @ pictures.astype(np.float32) @ cosines.T
    flat = low.reshape(len(pictures), _KEPT * _KEPT)
    # Coefficients of a flat picture are rounding noise, which must not decide a bit.
    flat = np.where(np.abs(flat) < 1e-2, 0.0, flat)
    median = np.median(flat[:, 1:], axis=1, keepdims=True)
    bits: NDArray[np.bool_] = flat > median
    return bits


def distinct(path: Path, distance: int) -> list[int]:
    """Return the numbers, from 0, of the pictures that differ by more than `distance` bits from the last kept one.

    The file holds 8-bit grey pictures of 32 x 32, one after the other. Blocking: run it in a process of its own.
    """
    pictures = np.fromfile(path, dtype=np.uint8).reshape(-1, HASH_SIDE, HASH_SIDE)
    kept: list[int] = []
    last: NDArray[np.bool_] | None = None
    for first in range(0, len(pictures), _BATCH):
        for offset, bits in enumerate(hash_bits(pictures[first : first + _BATCH])):
            if last is None or int(np.count_nonzero(bits != last)) > distance:
                kept.append(first + offset)
                last = bits
    return kept
