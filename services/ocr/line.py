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

from services.ocr.columns import is_column
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
_SPAN_SHARE = 0.05
"""A row of letters has at least this share of the strokes of the fullest one."""
_SPAN_ROOM = 0.25
_RECOLOURED_SHARE = 0.4
"""Of the stretches that may change their colour from one frame to the next."""
_REMAINING_SHARE = 0.85
_REMAINING_EDGE = 0.4
"""Share of an edge's difference that must be left for it to be there still."""


def edges(luma: Luma) -> NDArray[np.uint8]:
    """Return the difference between the brightest and the darkest of each pixel's 3 × 3 neighbours."""
    return np.asarray(cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8)


class Strokes:
    """The pixels of a line's strokes, in stretches of one letter, and how bright they were."""

    def __init__(self, crop: Luma) -> None:
        # Stretches lie along the line: a column is turned.
        self._is_column = is_column(crop)
        crop = self._along(crop)
        edge = edges(crop)
        limit = max(_LEAST_EDGE, _STROKE_SHARE * float(np.percentile(edge, 98)))
        rows, columns = np.nonzero(edge >= limit)
        self._span = _span(rows, crop.shape[0])
        order = np.argsort(columns, kind="stable")
        rows, columns = rows[order], columns[order]
        letter = max(6, crop.shape[0] // 2)
        stretches = np.minimum(columns // letter, max(0, crop.shape[1] // letter - 1))
        counts = np.bincount(stretches)
        kept = np.isin(stretches, np.flatnonzero(counts >= _LEAST_PIXELS))
        self._flat = rows[kept] * crop.shape[1] + columns[kept]
        _, self._starts, self._counts = np.unique(stretches[kept], return_index=True, return_counts=True)
        self._limit = limit
        self.contrast = float(crop.std())
        values = crop.ravel()[self._flat].astype(np.float32)
        if self.usable:
            self._values, self._power = self._centred(values)

    @property
    def usable(self) -> bool:
        """Whether there are enough pixels to tell anything."""
        return len(self._starts) > 0

    def _along(self, crop: Luma) -> Luma:
        return np.ascontiguousarray(crop.T) if self._is_column else crop

    def _centred(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        means = np.add.reduceat(values, self._starts) / self._counts
        centred = values - np.repeat(means, self._counts).astype(np.float32)
        return centred, np.add.reduceat(centred * centred, self._starts)

    def trimmed(self, picture: Luma) -> Luma:
        """Return the part of a picture of the same place that is as high as the letters: readers want lines without much around."""
        start, end = self._span
        return picture[:, start:end] if self._is_column else picture[start:end]

    def shown_in(self, crop: Luma) -> bool:
        """Tell whether a frame's crop of the same place shows the same strokes."""
        correlation, whole = self._likeness(crop)
        return bool(correlation.min() >= _LETTER_CORRELATION and whole >= _LINE_CORRELATION)

    def recoloured_in(self, crop: Luma) -> bool:
        """Tell whether it shows the same strokes, a few of them in another colour: a highlight that walks through a line.

        Most stretches are as they were; in all others nearly every edge is still where it was.
        """
        correlation, _ = self._likeness(crop)
        changed = correlation < _LETTER_CORRELATION
        if changed.sum() > max(1, _RECOLOURED_SHARE * len(changed)):
            return False
        there = edges(self._along(crop)).ravel()[self._flat] >= _REMAINING_EDGE * self._limit
        remaining = np.add.reduceat(there.astype(np.float32), self._starts) / self._counts
        return bool(remaining[changed].min(initial=1.0) >= _REMAINING_SHARE)

    def _likeness(self, crop: Luma) -> tuple[NDArray[np.float32], float]:
        centred, power = self._centred(self._along(crop).ravel()[self._flat].astype(np.float32))
        shared = np.add.reduceat(centred * self._values, self._starts)
        correlation = shared / np.sqrt(np.maximum(power * self._power, 1e-3))
        whole = float((correlation * self._counts).sum() / self._counts.sum())
        return np.asarray(correlation, np.float32), whole


def _span(rows: NDArray[np.intp], height: int) -> tuple[int, int]:
    """Return the first row of the letters and the one after their last, with some room."""
    counts = np.bincount(rows, minlength=height)
    on = np.flatnonzero(counts >= _SPAN_SHARE * counts.max(initial=0))
    if not len(rows) or not len(on):
        return 0, height
    start, end = int(on[0]), int(on[-1]) + 1
    room = max(2, round(_SPAN_ROOM * (end - start)))
    return max(0, start - room), min(height, end + room)


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

    def goes_on_in(self, crop: Luma) -> bool:
        """Tell whether a frame shows the line still, whole or with another highlight, which is then what later frames must show."""
        if self.strokes.shown_in(crop):
            return True
        if not self.strokes.recoloured_in(crop):
            return False
        other = Strokes(crop)
        if other.usable:
            self.strokes = other
        return True

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
        """Return the mean of all crops, as high as the letters."""
        return self.strokes.trimmed(np.clip(self.total / max(1, self.count), 0, 255).astype(np.uint8))

    def once(self) -> Luma:
        """Return the crop in which it was found, as high as the letters."""
        return self.strokes.trimmed(self.seen)

    @property
    def duration(self) -> float:
        """In seconds."""
        return self.end - self.start
