"""What the detector is shown."""

from __future__ import annotations

import numpy as np

from services.ocr.pp_ocr import exposed


def test_of_a_bright_picture_strokes_are_left_and_a_dark_one_is_not_touched() -> None:
    """A bright ground becomes nearly black, strokes brighter than their outline stay so, and a dark picture stays as it is."""
    bright = np.full((60, 200), 210, np.uint8)
    bright[20:40, 50:150] = 20
    bright[29:32, 60:140] = 240
    left = exposed(bright)
    assert left[:20].max() <= 20
    assert left[30, 60:140].min() >= 200
    assert left[25, 60:140].max() <= 20
    dark = np.full((8, 8), 60, np.uint8)
    assert exposed(dark) is dark
