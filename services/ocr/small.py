"""Pictures as the gate and the detector see them: no wider than they need."""

from __future__ import annotations

import cv2
import numpy as np

from services.ocr.engine import Engine
from services.ocr.film import Luma


def small_of(engine: Engine, picture: Luma) -> Luma:
    """Return a picture as the detector sees it."""
    height, width = picture.shape
    small = min(width, engine.detector_width(width))
    if small == width:
        return picture
    size = (small, max(1, round(height * small / width)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
