"""Words of Tesseract put together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from services.ocr.film import Luma
from services.ocr.tesseract import Tesseract, _joined, _Word, black_on_white


def page(*blocks: tuple[int, int]) -> Luma:
    """Black blocks on white, 40 pixels high, from column to column."""
    white = np.full((96, 300), 255, np.uint8)
    for left, right in blocks:
        white[30:70, left:right] = 0
    return white


@pytest.mark.parametrize(("gap", "expected"), [(9, "강물"), (16, "강 물")])
def test_korean_syllables_are_parted_by_a_space_of_ink(gap: int, expected: str) -> None:
    """Where Tesseract says that two syllables end does not matter: 9 of 40 pixels without ink are none, 16 are a space."""
    words = [_Word("강", 90, 20, 50), _Word("물", 90, 70, 110)]
    assert _joined(words, page((20, 60), (60 + gap, 110))).text == expected


def test_other_words_are_parted_where_tesseract_parts_them() -> None:
    """The gap that Tesseract sees between Cyrillic words counts; two parts that all but touch are one word."""
    blank = page((20, 60), (70, 110))
    assert _joined([_Word("он", 90, 20, 60), _Word("жил", 90, 70, 110)], blank).text == "он жил"
    assert _joined([_Word("он", 90, 20, 60), _Word("жил", 90, 64, 110)], blank).text == "онжил"


def test_a_line_drawn_again_is_black_on_white_of_one_height() -> None:
    """White and dark letters become the same black ones."""
    line = np.full((40, 240), 30, np.uint8)
    cv2.putText(line, "Boat", (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, 240, 2, cv2.LINE_AA)
    white, dark = black_on_white(line, dark=False), black_on_white(255 - line, dark=True)
    assert white.shape == (96, 416)
    assert set(np.unique(white)) == {0, 255}
    assert (white == dark).all()


def test_lines_are_read_in_their_order() -> None:
    """One process reads all lines; each reading is that of its line, and of an empty one there is nothing to be sure of."""
    tesseract = Tesseract()
    if "eng" not in tesseract.languages:
        pytest.skip("tesseract-ocr-eng is not installed")
    lines = [np.full((40, 240), 30, np.uint8) for _ in range(3)]
    for line, text in ((lines[0], "Boat"), (lines[2], "House")):
        cv2.putText(line, text, (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, 240, 2, cv2.LINE_AA)
    first, blank, last = tesseract.read(lines, "eng")
    assert (first.text, last.text) == ("Boat", "House")
    assert blank.confidence < 0.3
