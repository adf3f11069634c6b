"""Letters told from what lies behind and around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from services.ocr.ink import letters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from services.ocr.film import Luma


def drawn(text: str, ground: int) -> tuple[Luma, NDArray[np.bool_]]:
    """A line of outlined text on a plain ground, and where its letters were drawn."""
    share = np.zeros((64, 460), np.uint8)
    cv2.putText(share, text, (20, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 2, cv2.LINE_AA)
    outline = cv2.dilate(share, np.ones((7, 7), np.uint8)) / 255
    picture = ground * (1 - outline) + 10 * outline
    picture = picture * (1 - share / 255) + 250 * (share / 255)
    return picture.astype(np.uint8), share >= 128


@pytest.mark.parametrize("ground", [20, 120, 215])
def test_letters_are_as_broad_as_they_are_drawn(ground: int) -> None:
    """Found and drawn pixels are nearly the same ones, also before a ground nearly as bright that shows inside of letters."""
    picture, truth = drawn("Dog and Boat go on", ground)
    found = letters(picture)
    assert (found & truth).sum() >= 0.9 * (found | truth).sum()


def test_what_reaches_in_from_the_edge_is_no_letter() -> None:
    """A bright corner of the picture, a bar at the end of the line: neither is kept, and a letter that is cut off there is."""
    picture, _ = drawn("Dog and Boat", 20)
    picture[56:, 300:340] = 245
    picture[:, 440:448] = 245
    found = letters(picture)
    assert not found[56:, 300:340].any()
    assert not found[:, 440:448].any()
    cut = picture[:, 30:]
    assert letters(cut)[24:40, :8].any()


def test_a_plain_picture_has_no_letters() -> None:
    """Nothing is brighter than anything else."""
    assert not letters(np.full((64, 200), 90, np.uint8)).any()
