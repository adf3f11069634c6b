"""One line of text that stays where it is: recognised again in each frame by the pixels of its strokes, without any engine.

A frame shows the line when the strokes' brightness correlates with what was first seen, in every stretch of about one letter. A
background may move as it likes, since pixels off the strokes do not count; a letter that changes ends the line in that frame.
Correlation does not see a fade's dimming, so that a fading line lasts until it drowns in the picture behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from services.ocr.engine import Box
from services.ocr.film import Luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STROKE_SHARE = 0.5
"""Edges with at least this share of the strongest ones' difference are strokes; weaker ones may be the background's."""
_LEAST_EDGE = 12
_LEAST_PIXELS = 24
_LETTER_CORRELATION = 0.7
_LINE_CORRELATION = 0.7


def edges(luma: Luma) -> NDArray[np.uint8]:
    """Return the difference between the brightest and the darkest of each pixel's 3 × 3 neighbours."""
    return np.asarray(cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8)


class Strokes:
    """The pixels of a line's strokes, in stretches of one letter, and how bright they were."""

    def __init__(self, crop: Luma) -> None:
        edge = edges(crop)
        limit = max(_LEAST_EDGE, _STROKE_SHARE * float(np.percentile(edge, 98)))
        rows, columns = np.nonzero(edge >= limit)
        order = np.argsort(columns, kind="stable")
        rows, columns = rows[order], columns[order]
        letter = max(6, crop.shape[0] // 2)
        stretches = np.minimum(columns // letter, max(0, crop.shape[1] // letter - 1))
        counts = np.bincount(stretches)
        kept = np.isin(stretches, np.flatnonzero(counts >= _LEAST_PIXELS))
        self._flat = rows[kept] * crop.shape[1] + columns[kept]
        _, self._starts, self._counts = np.unique(stretches[kept], return_index=True, return_counts=True)
        self.contrast = float(crop.std())
        values = crop.ravel()[self._flat].astype(np.float32)
        if self.usable:
            self._values, self._power = self._centred(values)

    @property
    def usable(self) -> bool:
        """Whether there are enough pixels to tell anything."""
        return len(self._starts) > 0

    def _centred(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        means = np.add.reduceat(values, self._starts) / self._counts
        centred = values - np.repeat(means, self._counts).astype(np.float32)
        return centred, np.add.reduceat(centred * centred, self._starts)

    def shown_in(self, crop: Luma) -> bool:
        """Tell whether a frame's crop of the same place shows the same strokes."""
        centred, power = self._centred(crop.ravel()[self._flat].astype(np.float32))
        shared = np.add.reduceat(centred * self._values, self._starts)
        correlation = shared / np.sqrt(np.maximum(power * self._power, 1e-3))
        whole = float((correlation * self._counts).sum() / self._counts.sum())
        return bool(correlation.min() >= _LETTER_CORRELATION and whole >= _LINE_CORRELATION)


@dataclass(eq=False)
class Line:
    """A line from the first to the last frame that shows it."""

    box: Box
    strokes: Strokes
    seen: Luma
    """The crop in which it was found."""
    first: int
    """Number of the first frame that shows it."""
    last: int
    """Number of the last one."""
    start: float
    """Seconds."""
    end: float = 0.0
    """When the first frame without it is shown; seconds."""
    total: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    count: int = 0
    over: bool = False

    def crop(self, luma: Luma) -> Luma:
        """Return the line's place in a frame."""
        return luma[self.box.top : self.box.bottom, self.box.left : self.box.right]

    def add(self, crop: Luma) -> None:
        """Take a frame's crop into the mean, in which a moving background blurs and the text does not."""
        if not self.count:
            self.total = np.zeros(crop.shape, np.float32)
        self.total += crop
        self.count += 1
        if crop.std() > 1.2 * self.strokes.contrast:  # it has faded in further
            better = Strokes(crop)
            if better.usable:
                self.strokes, self.seen = better, crop.copy()

    def mean(self) -> Luma:
        """Return the mean of all crops."""
        return np.clip(self.total / max(1, self.count), 0, 255).astype(np.uint8)

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.end - self.start
