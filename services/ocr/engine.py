"""What every reading engine can do: find lines of text in a picture, and read pictures of one line each."""

from __future__ import annotations

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


class Engine(Protocol):
    """A loaded engine. Not for use by several threads at once."""

    name: str

    def find(self, pictures: Sequence[Luma]) -> list[list[Box]]:
        """Return the boxes of text in each picture; all pictures have one shape."""

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """Return what each picture of one line says; an empty text where it says nothing."""
