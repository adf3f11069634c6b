"""The gate before the detector: lets those frames pass in which something like text has come to stand still."""

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

_EDGE = 45
"""Least difference of brightness at an edge that may be text."""
_WINDOW = (40, 14)
"""Width and height of a window, in pixels at full size."""
_DENSITY = 0.12
"""Share of a window that must be new edges which stay: a line of text has 0.3 and more, a drawn outline 0.05."""


class Gate:
    """Compares samples of a film, a tenth of a second apart, in order."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None
        self._now: NDArray[np.uint8] | None = None

    def takes(self, sample: Luma, known: Sequence[Box]) -> bool:
        """Tell whether edges that the sample before has brought, outside of known boxes, are still there in this one."""
        edge = (edges(sample) > _EDGE).astype(np.uint8)
        before, now, self._before, self._now = self._before, self._now, self._now, edge
        if now is None:
            return True
        stays = now & edge
        if before is not None:
            stays &= np.asarray(1 - cv2.dilate(before, np.ones((3, 3), np.uint8)), np.uint8)
        for box in known:
            stays[box.top : box.bottom, box.left : box.right] = 0
        density = cv2.boxFilter(stays, cv2.CV_32F, _WINDOW, borderType=cv2.BORDER_CONSTANT)
        return bool(density.max() >= _DENSITY)
