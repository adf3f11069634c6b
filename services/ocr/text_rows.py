"""Boxes of the detector as rows of text: those of one row joined, and what is no text set apart."""

from __future__ import annotations

from collections.abc import Sequence

from services.ocr.engine import Box
from services.ocr.film import Luma

_BLOB_SHARE = 0.6
_LOW_STRIP = 8.0
"""Width over height from which a strip may be one line and no more."""


def is_blob(box: Box, luma: Luma) -> bool:
    """Whether a box is too high for a line: the detector takes a bright scene for one now and then."""
    height, width = luma.shape
    return not box.is_column and box.height > _BLOB_SHARE * height and width < _LOW_STRIP * height


def rows(boxes: Sequence[Box]) -> list[Box]:
    """Join boxes that stand in one row with less than a space's width of two letters between them."""
    columns = [box for box in boxes if box.is_column]
    joined: list[Box] = []
    for box in sorted((box for box in boxes if not box.is_column), key=lambda one: one.left):
        for number, other in enumerate(joined):
            down = min(box.bottom, other.bottom) - max(box.top, other.top)
            lower = min(box.height, other.height)
            if down > 0.6 * lower and box.left - other.right < 1.5 * lower:
                joined[number] = box.joined(other)
                break
        else:
            joined.append(box)
    return joined + columns
