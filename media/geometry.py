"""Sizes and areas of a picture: coded pixels, and the upright picture with square pixels that a viewer sees.

Areas are given in *display pixels*: after turning, with the sample aspect ratio applied. For the usual film
(square pixels, no rotation) these are the source's own pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from media.faults import FaultCode, MediaFault
from media.probe import VideoStream

NAMED_AREAS: dict[str, tuple[Fraction, Fraction]] = {
    "top_third": (Fraction(0), Fraction(1, 3)),
    "middle_third": (Fraction(1, 3), Fraction(2, 3)),
    "bottom_third": (Fraction(2, 3), Fraction(1)),
    "bottom_half": (Fraction(1, 2), Fraction(1)),
}
"""Name to the top and bottom edge, as shares of the height; all are as wide as the picture."""


@dataclass(frozen=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def named(cls, name: str, frame: Size) -> Self:
        """Return a named area of a picture."""
        top, bottom = NAMED_AREAS[name]
        y = round(top * frame.height)
        return cls(0, y, frame.width, round(bottom * frame.height) - y)

    @classmethod
    def from_corners(cls, x1: int, y1: int, x2: int, y2: int) -> Self:
        """Return the rectangle between two corners, the second one outside of it."""
        return cls(x1, y1, x2 - x1, y2 - y1)

    def corners(self) -> list[int]:
        """Return [x1, y1, x2, y2]."""
        return [self.x, self.y, self.x + self.width, self.y + self.height]

    def within(self, frame: Size) -> Region:
        """Return the part that lies in the picture.

        Raises:
            MediaFault: AREA_OUTSIDE_FRAME when no pixel does.
        """
        left, top = max(self.x, 0), max(self.y, 0)
        right = min(self.x + self.width, frame.width)
        bottom = min(self.y + self.height, frame.height)
        if right <= left or bottom <= top:
            raise MediaFault(
                FaultCode.AREA_OUTSIDE_FRAME,
                f"the area {self.corners()} has no pixel in the picture of {frame.width}x{frame.height}",
            )
        return Region(left, top, right - left, bottom - top)

    def scaled(self, across: Fraction, down: Fraction) -> Region:
        """Return the smallest region that holds this one after stretching."""
        left, top = int(self.x * across), int(self.y * down)
        right = -int(-(self.x + self.width) * across // 1)
        bottom = -int(-(self.y + self.height) * down // 1)
        return Region(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class Picture:
    """How a video stream's coded frames become what is seen."""

    coded: Size
    """The decoder's frame, turned upright when turning is asked for."""
    display: Size
    """The same with square pixels when the aspect ratio is applied."""

    @classmethod
    def of(cls, stream: VideoStream, *, autorotate: bool = True, apply_sar: bool = True) -> Self:
        """Work out the sizes; the longer way is always to widen or narrow, never to change the height."""
        turned = autorotate and stream.is_turned
        coded = Size(stream.height, stream.width) if turned else Size(stream.width, stream.height)
        ratio = stream.sample_aspect_ratio if apply_sar else Fraction(1)
        ratio = 1 / ratio if turned else ratio
        return cls(coded, Size(max(1, round(coded.width * ratio)), coded.height))

    def to_coded(self, region: Region) -> Region:
        """Return the coded pixels that a region of display pixels covers."""
        across = Fraction(self.coded.width, self.display.width)
        return region.scaled(across, Fraction(1)).within(self.coded)


def fitted(size: Size, max_width: int | None) -> Size:
    """Return the size reduced to a greatest width with its shape kept; never enlarged."""
    if max_width is None or size.width <= max_width:
        return size
    return Size(max_width, max(1, round(size.height * max_width / size.width)))
