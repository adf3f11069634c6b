"""Which parts of a picture are looked at: one or more zones, laid below each other into one strip.

One zone is cut out as it stands. Several become one strip with black rows between them, so that one decode, one gate and one
call of the detector serve them all; boxes that are found in the strip are moved back into the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from media.faults import FaultCode, MediaFault
from media.geometry import Region, Size
from services.ocr.engine import Box
from services.ocr.film import Luma

LEAST_SIDE = 8
"""Pixels that a zone must have each way."""
GAP_ROWS = 24
"""Black rows between two zones."""


@dataclass(frozen=True)
class View:
    """The zones of one film, in display pixels."""

    zones: tuple[Region, ...]

    @property
    def region(self) -> Region:
        """The smallest region with all zones."""
        left, top = min(zone.x for zone in self.zones), min(zone.y for zone in self.zones)
        right = max(zone.x + zone.width for zone in self.zones)
        bottom = max(zone.y + zone.height for zone in self.zones)
        return Region(left, top, right - left, bottom - top)

    @property
    def size(self) -> Size:
        """Of the strip."""
        height = sum(zone.height for zone in self.zones) + GAP_ROWS * (len(self.zones) - 1)
        return Size(max(zone.width for zone in self.zones), height)

    def _tops(self) -> list[int]:
        tops, top = [], 0
        for zone in self.zones:
            tops.append(top)
            top += zone.height + GAP_ROWS
        return tops

    def strip(self, picture: Luma, corner: tuple[int, int] = (0, 0)) -> Luma:
        """Return the strip as a copy; `corner` is where the picture's first pixel lies in the whole one."""
        across, down = corner
        if len(self.zones) == 1:
            zone = self.zones[0]
            left, top = zone.x - across, zone.y - down
            return picture[top : top + zone.height, left : left + zone.width].copy()
        size = self.size
        strip = np.zeros((size.height, size.width), np.uint8)
        for zone, row in zip(self.zones, self._tops(), strict=True):
            left, top = zone.x - across, zone.y - down
            strip[row : row + zone.height, : zone.width] = picture[
                top : top + zone.height, left : left + zone.width
            ]
        return strip

    def in_picture(self, box: Box) -> Box:
        """Return where a box of the strip lies in the whole picture."""
        middle = (box.top + box.bottom) / 2
        number = max(
            (place for place, top in enumerate(self._tops()) if top <= middle),
            default=0,
        )
        zone, top = self.zones[number], self._tops()[number]
        return Box(box.left + zone.x, box.top - top + zone.y, box.right + zone.x, box.bottom - top + zone.y)


def without_overlap(zones: Sequence[Region]) -> tuple[Region, ...]:
    """Return the zones, those as one that would be fewer pixels together than each for itself: they lie over each other."""
    kept: list[Region] = []
    for zone in zones:
        one = zone
        while other := next(
            (other for other in kept if _pixels(_around(one, other)) < _pixels(one) + _pixels(other)), None
        ):
            kept.remove(other)
            one = _around(one, other)
        kept.append(one)
    return tuple(sorted(kept, key=lambda zone: (zone.y, zone.x)))


def _around(one: Region, other: Region) -> Region:
    return View((one, other)).region


def _pixels(zone: Region) -> int:
    return zone.width * zone.height


def lower_third(size: Size) -> View:
    """Return where most subtitles stand: at least one row, where a picture has too few for a third."""
    third = Region.named("bottom_third", size)
    return View((third if third.height else Region(0, 0, size.width, size.height),))


def given(corners: Sequence[Sequence[int]], size: Size) -> View:
    """Return the zones between given corners, [x1, y1, x2, y2] each. Raises MediaFault (AREA_OUTSIDE_FRAME)."""
    zones = tuple(Region.from_corners(*four).within(size) for four in corners)
    for zone in zones:
        if min(zone.width, zone.height) < LEAST_SIDE:
            raise MediaFault(
                FaultCode.AREA_OUTSIDE_FRAME,
                f"the area {zone.corners()} has no {LEAST_SIDE} × {LEAST_SIDE} pixels in the picture of {size.width}x{size.height}",
            )
    return View(zones)
