"""Lines known again by their strokes."""

from __future__ import annotations

import cv2
import numpy as np

from services.ocr.columns import is_column, laid_level
from services.ocr.film import Luma
from services.ocr.gate import Gate
from services.ocr.line import Strokes


def picture(text: str, seed: int, strength: float = 1.0, fill: int = 255) -> Luma:
    """A strip with outlined text over a background that the seed makes."""
    noise = np.random.default_rng(seed).integers(70, 160, (3, 20)).astype(np.uint8)
    background = cv2.resize(noise, (600, 60), interpolation=cv2.INTER_CUBIC)
    drawn = background.copy()
    for colour, width in ((0, 9), (fill, 2)):
        cv2.putText(drawn, text, (20, 42), cv2.FONT_HERSHEY_SIMPLEX, 1.1, colour, width, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(drawn, strength, background, 1 - strength, 0), np.uint8)


def test_a_line_is_known_over_another_background_and_half_faded() -> None:
    """What is behind the strokes does not matter, and neither does a fade."""
    strokes = Strokes(picture("the boat is here", 1))
    assert strokes.shown_in(picture("the boat is here", 2))
    assert strokes.shown_in(picture("the boat is here", 1, strength=0.6))


def test_one_other_letter_is_another_line() -> None:
    """A single letter that changes ends a line, though all the rest stays."""
    strokes = Strokes(picture("the boat is here", 1))
    assert not strokes.shown_in(picture("the coat is here", 1))
    assert not strokes.shown_in(picture("", 1))


def test_another_colour_of_some_letters_is_the_same_line() -> None:
    """A highlight that walks through a line does not end it; another letter in the same place does."""
    plain = picture("the boat is here", 1)
    sung = np.hstack([picture("the boat is here", 1, fill=10)[:, :90], plain[:, 90:]])
    strokes = Strokes(plain)
    assert not strokes.shown_in(sung)
    assert strokes.recoloured_in(sung)
    assert not strokes.recoloured_in(picture("the coat is here", 1))
    assert not strokes.recoloured_in(picture("", 1))


def test_the_gate_opens_for_text_that_came_and_stays() -> None:
    """New text passes once; the same text, a moving background, and known places do not."""
    gate = Gate()
    blurred = [np.asarray(cv2.GaussianBlur(picture("", seed), (0, 0), 8), np.uint8) for seed in (1, 2)]
    assert gate.takes(blurred[0], [])
    gate.takes(blurred[1], [])
    assert not gate.takes(blurred[0], [])
    shown = blurred[0].copy()
    cv2.putText(shown, "hello there", (20, 42), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 255, 3, cv2.LINE_AA)
    gate.takes(shown, [])
    assert gate.takes(shown, [])
    assert not gate.takes(shown, [])


def test_a_column_is_cut_into_its_signs() -> None:
    """Each sign, though some consist of strokes one above the other, is laid beside the one that stood above it."""
    column = np.full((300, 48), 60, np.uint8)
    for number in range(6):
        top = 8 + 48 * number
        for stroke in range(0, 36, 12 if number % 2 else 36):
            height = 8 if number % 2 else 36
            column[top + stroke : top + stroke + height, 6 : 42 - number] = 250
    level = laid_level(column)
    starts = np.flatnonzero(np.diff((level > 150).any(axis=0).astype(int)) == 1)
    assert is_column(column) and not is_column(level)
    assert len(starts) == 6
    assert level.shape[0] == 48


def test_a_line_is_read_as_high_as_its_letters() -> None:
    """What is far above and below them is cut off, and they stay whole."""
    shown = picture("the boat is here", 1)
    roomy = np.pad(shown, ((60, 60), (0, 0)), mode="edge")
    trimmed = Strokes(roomy).trimmed(roomy)
    assert 25 <= trimmed.shape[0] <= 70
    assert (trimmed > 230).sum() == (roomy > 230).sum()
