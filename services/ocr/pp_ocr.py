"""What PP-OCR's two networks want, whoever runs them: few large pictures of few shapes for the detector, lines of one height.

Pictures are stitched before the detector sees them, and lines widened to buckets before the recogniser does: few shapes, so that
a runtime's memory does not grow with each new one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from services.ocr.engine import Box, Reading, Runs
from services.ocr.film import Luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GAP = 32
"""Black pixels between stitched pictures, so that the detector does not join lines of two of them."""
_MAX_PIXELS = 2_000_000
"""Of a stitched picture: what the network needs beside its weights goes with it."""
_SIDE_BY_SIDE = 640
"""Narrow pictures are laid side by side up to this width."""
_HEIGHT_STEP = 256
"""Stitched pictures are as high as a multiple of this."""
MAX_SIDE = 3072
"""Height of a stitched picture, at most; more pictures take another run."""
_DETECTOR_WIDTHS = ((1280, 640), (100_000, 960))
"""Up to this width, pictures are made so wide before the detector sees them."""
_WIDTH_STEP = 160
"""Lines are padded to a multiple of this."""
_LINE_ROWS = 48
"""Rows of a line as the recogniser sees it."""
LINES_A_RUN = 8
_BRIGHT = 0.25
"""Mean brightness, of 1, above which pictures are darkened before the detector sees them …"""
_TAKEN = 0.91
"""… by this share of what is bright over more than a stroke's width."""
_STROKE = 9
"""Pixels that no stroke of a letter fills each way, as the detector sees it."""
_LEAST_LETTERS = 0.3
"""A line has at least so many letters for each time that it is as wide as high."""


class PpOcrEngine(ABC):
    """A detector and a recogniser of PP-OCR, with stitching and shape buckets around them; a subclass says who runs them."""

    name: str
    """Of all languages that it reads."""
    device: str = "cpu"
    """Where the networks run: cpu or cuda."""
    languages: frozenset[str]
    """Codes of the languages that the recogniser was trained on."""
    recogniser: str
    """The recogniser's own name, for people."""

    def __init__(self, max_side: int = MAX_SIDE, lines_a_run: int = LINES_A_RUN) -> None:
        self._max_side, self._lines_a_run = max_side, lines_a_run
        self.runs = Runs()

    @abstractmethod
    def _detect(self, picture: NDArray[np.uint8]) -> Iterable[NDArray[Any]]:
        """Return the corners of each text in a picture in colour, points × (across, down), in its own pixels, unscaled."""

    @abstractmethod
    def _recognise(self, lines: Sequence[NDArray[np.uint8]]) -> Sequence[tuple[str, float]]:
        """Return text and confidence of each line in colour, of 48 rows; at most `lines_a_run` of them in one run."""

    def begin(self, language: str, runs: Runs) -> None:
        """Begin a film; the language makes no difference."""
        self.runs = runs

    def detector_width(self, width: int) -> int:
        """Return how wide pictures of a width are to be made before the detector sees them."""
        return min(width, self._max_side, next(small for most, small in _DETECTOR_WIDTHS if width <= most))

    def find(self, pictures: Sequence[Luma], *, of_a_film: bool = True) -> list[list[Box]]:
        """Return the boxes of text in each picture, out of as few runs of the detector as there can be.

        Bright pictures of a film are darkened for it (`exposed`); others may have letters broader than that leaves.
        """
        if not pictures:
            return []
        rows, width = pictures[0].shape
        across = max(1, _SIDE_BY_SIDE // (width + _GAP))
        most = min(self._max_side, _MAX_PIXELS // max(width, _SIDE_BY_SIDE))
        together = across * max(1, most // (rows + _GAP))
        found: list[list[Box]] = []
        for start in range(0, len(pictures), together):
            group = pictures[start : start + together]
            darkened = [exposed(picture) for picture in group] if of_a_film else group
            boxes = self._found(darkened, across)
            if not any(boxes) and any(one is not other for one, other in zip(group, darkened, strict=True)):
                # Perhaps dark letters, of which nothing was left.
                boxes = self._found(group, across)
            found += boxes
        return found

    def _found(self, pictures: Sequence[Luma], across: int) -> list[list[Box]]:
        """Lay pictures side by side and below each other, and find the text in all by one run."""
        rows, width = pictures[0].shape
        pitch = (rows + _GAP, width + _GAP)
        height = -(-pitch[0] * -(-len(pictures) // across) // _HEIGHT_STEP) * _HEIGHT_STEP
        wide = width if across == 1 else across * pitch[1]
        stitched = np.zeros((height, -(-wide // 32) * 32), np.uint8)
        for number, picture in enumerate(pictures):
            top, left = (place * step for place, step in zip(divmod(number, across), pitch, strict=True))
            stitched[top : top + rows, left : left + width] = picture
        self.runs.detector += 1
        self.runs.pictures += len(pictures)
        found: list[list[Box]] = [[] for _ in pictures]
        for corners in self._detect(_coloured(stitched)):
            column = int(np.median(corners[:, 0]) // pitch[1]) if across > 1 else 0
            row = int(np.median(corners[:, 1]) // pitch[0])
            number = row * across + column
            moved = corners - (column * pitch[1], row * pitch[0])
            (left, top), (right, bottom) = moved.min(0), moved.max(0)
            box = Box(int(left), int(top), int(right) + 1, int(bottom) + 1).within(width, rows)
            if column < across and number < len(found) and box.width > 3 and box.height > 5:
                found[number].append(box)
        return found

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """Return what each line says."""
        if not lines:
            return []
        self.runs.recogniser += -(-len(lines) // self._lines_a_run)
        self.runs.lines += len(lines)
        said = self._recognise([_padded(line) for line in lines])
        return [_reading(text, score, line) for (text, score), line in zip(said, lines, strict=True)]


def exposed(picture: Luma) -> Luma:
    """Return a picture of which hardly more than bright strokes is left when it is bright; a dark one as it is.

    The detector weighs a stitched picture as a whole, and passes over small letters in all strips of one with many bright ones.
    """
    if float(picture.mean()) <= 255 * _BRIGHT:
        return picture
    ground = cv2.morphologyEx(picture, cv2.MORPH_OPEN, np.ones((_STROKE, _STROKE), np.uint8))
    return np.asarray(cv2.addWeighted(picture, 1.0, ground, -_TAKEN, 0.0), np.uint8)


def _reading(text: str, confidence: float, line: Luma) -> Reading:
    """Return what was read. Of a script that it does not know the network reads blanks, or one sign, and is sure of it."""
    letters = sum(sign.isalnum() for sign in text)
    if not letters:
        return Reading(text, 0.0)
    height, width = line.shape
    return Reading(text, confidence if letters >= _LEAST_LETTERS * width / height else confidence / 2)


def _padded(line: Luma) -> NDArray[np.uint8]:
    """Return a line of the recogniser's height in colour, widened to the next bucket with its own edge's brightness."""
    height, width = line.shape
    wide = max(1, round(width * _LINE_ROWS / height))
    interpolation = cv2.INTER_AREA if height > _LINE_ROWS else cv2.INTER_CUBIC
    scaled = cv2.resize(line, (wide, _LINE_ROWS), interpolation=interpolation)
    bucket = -(-wide // _WIDTH_STEP) * _WIDTH_STEP
    padded = cv2.copyMakeBorder(scaled, 0, 0, 0, bucket - wide, cv2.BORDER_REPLICATE)
    return _coloured(padded)


def _coloured(luma: Any) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR), np.uint8)
