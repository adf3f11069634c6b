"""What every reading engine can do: find lines of text in a picture, and read pictures of one line each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.ocr.film import Luma


@dataclass(frozen=True)
class Box:
    """An upright rectangle around text; the second corner lies outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def length(self) -> int:
        """In pixels, along its longer side."""
        return max(self.width, self.height)

    @property
    def is_column(self) -> bool:
        """Whether text in it runs downward."""
        return self.height >= 2.5 * self.width

    def scaled(self, factor: float) -> Box:
        """Return the smallest box of whole pixels around this one in a picture that is `factor` times as large."""
        left, top = math.floor(self.left * factor), math.floor(self.top * factor)
        return Box(left, top, math.ceil(self.right * factor), math.ceil(self.bottom * factor))

    def grown(self, margin: int) -> Box:
        """Return the box with a margin on all sides."""
        return Box(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def within(self, width: int, height: int) -> Box:
        """Return the part that lies in a picture."""
        return Box(max(0, self.left), max(0, self.top), min(width, self.right), min(height, self.bottom))

    def holds(self, across: float, down: float) -> bool:
        """Whether a point lies in it."""
        return self.left <= across <= self.right and self.top <= down <= self.bottom

    def joined(self, other: Box) -> Box:
        """Return the smallest box around both."""
        return Box(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def overlap(self, other: Box) -> float:
        """Return the shared area as a share of the smaller of both, 0 to 1."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        smaller = min(self.width * self.height, other.width * other.height)
        return max(across, 0) * max(down, 0) / smaller if smaller else 0.0


@dataclass(frozen=True)
class Reading:
    """What one picture of a line says."""

    text: str
    confidence: float
    """0 to 1, as the engine says."""


@dataclass
class Runs:
    """What an engine has done: a run is one pass of a network, or one process of a program, over however many pictures."""

    detector: int = 0
    recogniser: int = 0
    pictures: int = 0
    """That the detector has seen."""
    lines: int = 0
    """That the recogniser has read, those read twice counted twice."""

    @property
    def calls(self) -> int:
        """Runs of both."""
        return self.detector + self.recogniser


class Engine(Protocol):
    """A loaded engine. Not for use by several threads at once."""

    runs: Runs

    @property
    def name(self) -> str:
        """What has read the film that was begun last."""

    @property
    def device(self) -> str:
        """Where its networks run: cpu or cuda."""

    def begin(self, language: str, runs: Runs) -> None:
        """Begin a film in a language, or `auto`, with what was done for it before. Raises OcrFault (LANGUAGE_UNAVAILABLE)."""

    def detector_width(self, width: int) -> int:
        """Return how wide pictures of a width are to be made before the detector sees them."""

    def find(self, pictures: Sequence[Luma], *, of_a_film: bool = True) -> list[list[Box]]:
        """Return the boxes of text in each picture; all pictures have one shape.

        Of a film bright strokes are looked for, as subtitles have them; else letters of any kind.
        """

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """Return what each picture of one line says; an empty text where it says nothing."""
