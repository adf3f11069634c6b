"""Which pixels of a picture of one line are letters: what is as bright as its brightest strokes, without the picture behind."""

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


def ink(picture: Luma) -> NDArray[np.bool_]:
    """Return where letters are."""
    bright, least = float(np.percentile(picture, 97)), float(np.percentile(picture, 5))
    limit = bright - _FILL * max(_LEAST_CONTRAST, bright - least)
    return _without_ground(np.asarray(picture >= limit, np.bool_))


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
