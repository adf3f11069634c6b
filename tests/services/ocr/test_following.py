"""Lines followed through the frames of a film."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from services.ocr.engine import Box, Reading, Runs
from services.ocr.film import Frame, Luma
from services.ocr.following import Follower

WHOLE = Box(20, 40, 300, 80)
HALF = Box(20, 40, 150, 80)


class HalfBlind:
    """An engine that sees half of the line in the first picture that has one, and all of it in others."""

    name, device = "half blind", "cpu"

    def __init__(self) -> None:
        self.runs = Runs()
        self._seen = 0

    def begin(self, language: str, runs: Runs) -> None:
        """Nothing to begin."""

    def detector_width(self, width: int) -> int:
        """As it is."""
        return width

    def find(self, pictures: Sequence[Luma], *, of_a_film: bool = True) -> list[list[Box]]:
        """Half a box once, then whole ones."""
        found: list[list[Box]] = []
        for picture in pictures:
            shows = picture[40:80, 20:300].max() > 200
            found.append([HALF if self._seen == 0 else WHOLE] if shows else [])
            self._seen += bool(shows)
        return found

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """It only finds."""
        return [Reading("", 0.0) for _ in lines]


def frames(first: int, last: int, count: int) -> list[Frame]:
    """Frames of 25 a second; a text from the first number up to (not with) the last one."""
    made: list[Frame] = []
    for number in range(count):
        luma = np.full((120, 320), 60, np.uint8)
        if first <= number < last:
            cv2.putText(
                luma, "Where did you go?", (24, 68), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2, cv2.LINE_AA
            )
        made.append(Frame(number / 25, luma))
    return made


def test_a_line_is_as_long_as_the_longest_box_found_in_its_frames() -> None:
    """Half a line found in one frame does not keep the whole one, found in another, from being followed; edges are exact."""
    pieces = list(Follower(HalfBlind()).follow(frames(10, 40, 60)))
    (line,) = [line for piece in pieces for line in piece.lines]
    assert line.box.left <= WHOLE.left
    assert line.box.right >= WHOLE.right
    assert (line.start, line.end) == (10 / 25, 40 / 25)
