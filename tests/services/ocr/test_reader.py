"""Lines read in batches."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from services.ocr.engine import Box, Reading, Runs
from services.ocr.film import Luma
from services.ocr.line import Line, Strokes
from services.ocr.reader import Reader


class Unsure:
    """An engine that says the same of every line."""

    name, device = "unsure", "cpu"

    def __init__(self, confidence: float) -> None:
        self.runs = Runs()
        self._confidence = confidence

    def begin(self, language: str, runs: Runs) -> None:
        """Nothing to begin."""

    def detector_width(self, width: int) -> int:
        """As it is."""
        return width

    def find(self, pictures: Sequence[Luma], *, of_a_film: bool = True) -> list[list[Box]]:
        """It only reads."""
        return [[] for _ in pictures]

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """One text for all."""
        self.runs.lines += len(lines)
        return [Reading("some", self._confidence) for _ in lines]


def line(width: int) -> Line:
    """A line of 40 rows that was over after a second."""
    crop = np.full((40, width), 40, np.uint8)
    cv2.putText(crop, "M" * (width // 20), (4, 32), cv2.FONT_HERSHEY_SIMPLEX, 1, 250, 2, cv2.LINE_AA)
    made = Line(Box(0, 0, width, 40), Strokes(crop), crop, 0, 25, 0.0, 1.0)
    made.add(crop)
    return made


def times_read(width: int, confidence: float) -> int:
    """How often a line of a width is read, when the engine is so sure of it."""
    engine = Unsure(confidence)
    reader = Reader(engine)
    reader.add([line(width)], 1.0)
    assert len(reader.flush()) == 1
    return engine.runs.lines


def test_an_unsure_line_is_read_twice_and_what_is_no_text_once() -> None:
    """A sure reading needs no other; of a hopeless one, and of a single sign that is read badly, no other makes a text."""
    assert times_read(300, 0.97) == 1
    assert times_read(300, 0.5) == 2
    assert times_read(300, 0.2) == 1
    assert times_read(48, 0.5) == 1
    assert times_read(48, 0.8) == 2
