"""Which pixels of a picture of one line are letters: what is as bright as its brightest strokes, without the picture behind.

The brightest pixels alone (`ink`) lie inside the letters. Whole letters (`letters`) reach out from there to the middle between
their own brightness and that of what surrounds them: a syllable's thin strokes are lost otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from services.ocr.film import Luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILL = 0.2
"""Letters begin this share of the contrast below their brightest strokes."""
_LEAST_CONTRAST = 30
_LETTER_AREA = 0.25
"""Of a square as high as the line: no letter's strokes have more."""
_INK_SHARE = 0.15
"""Of a letter's pixels that are among the brightest."""
_LEAST_STEP = 12
"""Brightness by which letters must differ from what lies behind them for it to tell the two apart."""
_BETWEEN = 0.5
"""How far between both brightnesses the brightest pixels of letters begin then."""
_AROUND = 7
"""Part of the line's height that is looked at around the brightest pixels for what surrounds letters."""
_ROW_SHARE = 0.2
"""Rows of letters have at least this share of the ink of the fullest row."""
_CUT_HEIGHT = 0.6
"""Of the rows of letters: what reaches an end of the line and is lower is no letter that was cut off."""


def ink(picture: Luma) -> NDArray[np.bool_]:
    """Return the brightest pixels of letters."""
    bright, least = float(np.percentile(picture, 97)), float(np.percentile(picture, 5))
    limit = bright - _FILL * max(_LEAST_CONTRAST, bright - least)
    return _without_ground(np.asarray(picture >= limit, np.bool_))


def letters(picture: Luma) -> NDArray[np.bool_]:
    """Return where letters are, as broad as they are drawn."""
    inside = ink(picture)
    if not inside.any():
        return inside
    reach = max(3, picture.shape[0] // _AROUND)
    around = cv2.dilate(inside.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    bright = float(np.median(picture[inside]))
    bright_enough = picture >= (bright + float(np.percentile(picture[around], 10))) / 2
    mask = _without_ground(np.asarray(bright_enough, np.bool_))
    behind = picture[bright_enough & ~mask]
    if behind.size:
        # What lies behind is known: what is no brighter than that shows through between letters.
        level = float(np.percentile(behind, 75))
        if bright - level >= _LEAST_STEP:
            inside = np.asarray(picture >= level + _BETWEEN * (bright - level), np.bool_)
    return _without_scraps(mask, inside)


def _without_scraps(mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take away what is too dull for letters, and what reaches the edge and is no letter that was cut off there."""
    rows, columns = mask.shape
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    left, top, width, height, area = (stats[:, column] for column in range(5))
    kept = np.bincount(labels[inside & mask], minlength=count) >= _INK_SHARE * area
    kept[0] = False
    above, below = top == 0, top + height == rows
    at_end = (left == 0) | (left + width == columns)
    free = kept & ~(above | below | at_end)
    first, last = _rows_of(free[labels])
    middle = top + height / 2
    outside = (above | below) & ((middle < first) | (middle > last))
    low = at_end & (height < _CUT_HEIGHT * (last - first))
    kept &= ~((above & below) | outside | low)
    return np.asarray(kept[labels], np.bool_)


def _rows_of(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and the last row of letters; all rows where there are none."""
    filled = mask.sum(axis=1)
    on = np.flatnonzero(filled >= _ROW_SHARE * filled.max(initial=0))
    return (int(on[0]), int(on[-1])) if filled.any() else (0, mask.shape[0])


def _without_ground(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take away what is as bright as letters and too large for one, and reaches the edge: the picture behind."""
    rows, columns = mask.shape
    side = min(rows, columns)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    left, top, width, height, area = (stats[:, column] for column in range(5))
    at_edge = (left == 0) | (top == 0) | (left + width == columns) | (top + height == rows)
    ground = (at_edge & (area > _LETTER_AREA * side * side)) | (np.maximum(width, height) > 4 * side)
    ground[0] = True
    return np.asarray(~ground[labels], np.bool_)
