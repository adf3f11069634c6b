"""Text in columns: a picture of one is cut into its signs, which are laid side by side, since no recogniser here reads downward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from services.ocr.film import Luma
from services.ocr.ink import ink, letters

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TALL = 2.0
"""Height over width from which a picture of one line is a column."""
_LEAST_CELL, _MOST_CELL = 0.55, 1.5
"""Height of one sign, in widths of the column."""
_INK_SHARE = 0.1
"""Of the fullest column's ink; what has less lies beside the signs."""
_ROWS = 48
_GAP = 4


def is_column(picture: Luma) -> bool:
    """Tell whether a picture of one line shows a column."""
    height, width = picture.shape
    return bool(height >= _TALL * width)


def laid_level(picture: Luma) -> Luma:
    """Return the signs of a column side by side, the uppermost first."""
    cells = _cells(picture)
    ground = float(np.median(picture))
    parts: list[NDArray[np.uint8]] = []
    for top, bottom in cells:
        cell = picture[top:bottom]
        height, width = cell.shape
        scale = _ROWS / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        sign = np.asarray(cv2.resize(cell, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        square = np.full((_ROWS, size[0] + _GAP), ground, np.uint8)
        above = (_ROWS - size[1]) // 2
        square[above : above + size[1], : size[0]] = sign
        parts.append(square)
    return np.hstack(parts)


def drawn_again(picture: Luma) -> Luma:
    """Return the letters of a picture white on black and twice as large: signs of a column have few pixels, and an outline
    on a light ground closes what is open in them.
    """
    large = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    return np.where(letters(np.asarray(large, np.uint8)), 255, 0).astype(np.uint8)


def _cells(picture: Luma) -> list[tuple[int, int]]:
    """Return the first row of each sign and the one after its last."""
    height = picture.shape[0]
    mask = ink(picture)
    across = mask.sum(axis=0)
    if not across.max():
        return [(0, height)]
    on = np.flatnonzero(across >= _INK_SHARE * across.max())
    first, last = int(on[0]), int(on[-1]) + 1
    width = max(4, last - first)
    filled = np.asarray(mask[:, first:last].any(axis=1), np.bool_)
    runs = _joined(_runs(filled), round(_LEAST_CELL * width), round(_MOST_CELL * width))
    cells: list[tuple[int, int]] = []
    for top, bottom in runs:
        count = max(1, round((bottom - top) / width)) if bottom - top > _MOST_CELL * width else 1
        step = (bottom - top) / count
        cells += [(round(top + n * step), round(top + (n + 1) * step)) for n in range(count)]
    margin = max(1, width // 16)
    return [(max(0, top - margin), min(height, bottom + margin)) for top, bottom in cells] or [(0, height)]


def _runs(ink: NDArray[np.bool_]) -> list[tuple[int, int]]:
    padded = np.concatenate(([0], ink.astype(np.int8), [0]))
    steps = np.diff(padded)
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def _joined(runs: Sequence[tuple[int, int]], least: int, most: int) -> list[tuple[int, int]]:
    """Put the strokes of one sign together: what is too low for a sign joins its nearest neighbour where both fit in one."""
    cells = list(runs)
    while True:
        low = [n for n, (top, bottom) in enumerate(cells) if bottom - top < least]
        choices = [
            (cells[right][0] - cells[left][1], left)
            for n in low
            for left, right in ((n - 1, n), (n, n + 1))
            if left >= 0 and right < len(cells) and cells[right][1] - cells[left][0] <= 0.85 * most
        ]
        if not choices:
            return cells
        _, left = min(choices)
        cells[left : left + 2] = [(cells[left][0], cells[left + 1][1])]
