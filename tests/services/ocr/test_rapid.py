"""What the detector is shown."""

from __future__ import annotations

import numpy as np

from services.ocr.rapid import exposed


def test_a_bright_picture_is_darkened_and_a_dark_one_is_not_touched() -> None:
    """Black and white stay, order stays, and the mean comes near to that of a dark picture, whose pixels stay as they are."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    bright = exposed(ramp)
    assert (int(bright[0, 0]), int(bright[0, -1])) == (0, 255)
    assert (np.diff(bright[0].astype(int)) >= 0).all()
    assert bright.mean() < 0.75 * ramp.mean()
    dark = np.full((8, 8), 60, np.uint8)
    assert exposed(dark) is dark
    assert int(exposed(np.full((8, 8), 255, np.uint8))[0, 0]) == 255
