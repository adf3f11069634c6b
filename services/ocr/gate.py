"""The gate before the detector: lets those samples pass in which something like text has come to stand still.

It looks at small pictures, the same that the detector gets, so that a film costs hardly more than its decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from services.ocr.engine import Box
from services.ocr.film import Luma
from services.ocr.line import edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WINDOW = (20, 7)
"""Width and height of a window: about one letter and a half."""
_LEVELS = ((60, 40), (25, 90))
"""Difference of brightness that makes an edge, and how many pixels of a window (of 140) must be edges that are new and stay. Texts
of the films that this was chosen on have 120 and more; a moving scene has so many in one sample of fifty."""
_STROKE_EDGE = 30
_INSIDE = 0.15
"""Share of a box that must be edges for it to hold text."""
_AROUND = np.ones((3, 3), np.uint8)


Fresh = tuple["NDArray[np.uint8] | None", ...]
"""What is new in a sample, for each strength of edges."""


class Gate:
    """Compares samples of a film, a tenth of a second apart, in order."""

    def __init__(self, *, patient: bool = True) -> None:
        """An impatient gate takes text in the first sample that shows it, for pictures that may each say something else."""
        self._patient = patient
        self._levels = [_Level(edge, least) for edge, least in _LEVELS]
        self.place: tuple[int, int] | None = None
        """Where in the last sample that was taken something is new: column and row."""
        self.fresh: Fresh = ()
        """What is new in it."""

    def takes(self, sample: Luma, known: Sequence[Box]) -> bool:
        """Tell whether edges that the sample before has brought, outside of known boxes, are still there in this one."""
        difference = edges(sample)
        # Every level must see every sample.
        places = [level.place(difference, known, self._patient) for level in self._levels]
        self.place = next((place for place in places if place is not None), None)
        self.fresh = tuple(level.fresh for level in self._levels)
        return self.place is not None

    def leaves(self, fresh: Fresh, sample: Luma, known: Sequence[Box]) -> bool:
        """Tell whether something of what was new in an earlier sample is in a later one still, outside of boxes known by now."""
        difference = edges(sample)
        return any(
            one is None or level.stays(one, difference, known)
            for level, one in zip(self._levels, fresh, strict=True)
        )


class _Level:
    """Edges of one strength."""

    def __init__(self, edge: int, least: int) -> None:
        self._edge, self._least = edge, least
        self.fresh: NDArray[np.uint8] | None = None
        """1 where edges of the last sample are new; None: it had none to be compared with."""
        self._before: NDArray[np.uint8] | None = None
        self._now: NDArray[np.uint8] | None = None

    def place(self, difference: Luma, known: Sequence[Box], patient: bool) -> tuple[int, int] | None:
        """Return the middle of what is new and stays most; None: too little."""
        mask = _mask(difference, self._edge)
        if patient:
            before, now, self._before, self._now = self._before, self._now, self._now, mask
        else:
            before, now, self._before = self._before, mask, mask
        if now is None:
            self.fresh = None
            return (0, 0)
        stays = cv2.bitwise_and(now, mask)
        if before is not None:
            # 1 where neither pixel nor neighbour had an edge two samples ago.
            fresh = cv2.threshold(cv2.dilate(before, _AROUND), 0, 1, cv2.THRESH_BINARY_INV)[1]
            stays = cv2.bitwise_and(stays, fresh)
        self.fresh = np.asarray(stays, np.uint8)
        return self._fullest(self.fresh, known)

    def stays(self, fresh: NDArray[np.uint8], difference: Luma, known: Sequence[Box]) -> bool:
        """Tell whether enough of the edges that were new once are edges in another sample too, outside of known boxes."""
        still = np.asarray(cv2.bitwise_and(fresh, _mask(difference, self._edge)), np.uint8)
        return self._fullest(still, known) is not None

    def _fullest(self, stays: NDArray[np.uint8], known: Sequence[Box]) -> tuple[int, int] | None:
        for box in known:
            stays[box.top : box.bottom, box.left : box.right] = 0
        counts = cv2.boxFilter(stays, -1, _WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
        _, most, _, (column, row) = cv2.minMaxLoc(counts)
        return (column, row) if most >= self._least else None


def _mask(difference: Luma, edge: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.threshold(difference, edge, 1, cv2.THRESH_BINARY)[1], np.uint8)


def has_strokes(sample: Luma, box: Box) -> bool:
    """Tell whether a place looks as if it held text: enough of it are edges."""
    crop = sample[box.top : box.bottom, box.left : box.right]
    return crop.size > 0 and float(_mask(edges(crop), _STROKE_EDGE).mean()) >= _INSIDE
