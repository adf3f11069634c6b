"""Where a film's subtitles stand, out of pictures of it: rows, or columns, in which texts come, change and go.

A subtitle zone is where text is in line with other texts (centred alike, or beginning alike), changes from picture to picture, and
is not there in all of them. What stays the same in most pictures is static (a logo, a channel's mark); texts here and there belong
to the scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from media.geometry import Region
from services.ocr.engine import Box, Engine
from services.ocr.film import Film, Luma
from services.ocr.gate import has_strokes
from services.ocr.line import Strokes
from services.ocr.small import small_of
from services.ocr.step_items import FoundZones, Text, Zone
from services.ocr.zone_samples import sample_pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATIC_SHARE = 0.6
"""Text that looks the same in so many of the pictures is no subtitle."""
_GROW = 0.3
"""A zone grows from its peak while rows hold so much of it (as in the origin system)."""
_LEAST_PEAK = 0.15
"""Of the strongest peak, for another zone."""
_IN_LINE = 0.6
"""Share of a zone's texts that must be centred alike or begin alike."""
_LEAST_TEXTS = 2
_LOWER_WEIGHT = 1.5
_PADDING = 10
"""Pixels above and below (as in the origin system)."""


def find_zones(engine: Engine, film: Film) -> FoundZones:
    """Look for zones in pictures that are spread over a film."""
    return zones_of(engine, sample_pictures(film))


def zones_of(engine: Engine, pictures: Iterable[Luma]) -> FoundZones:
    """Look for zones in pictures of one size."""
    smalls: list[Luma] = []
    width = height = 0
    for picture in pictures:
        height, width = picture.shape
        smalls.append(small_of(engine, picture))
    if not smalls:
        return FoundZones((), (), 0, 0)
    scale = width / smalls[0].shape[1]
    found = engine.find(smalls)
    texts = [
        Text(number, box)
        for number, boxes in enumerate(found)
        for box in boxes
        if has_strokes(smalls[number], box)  # the detector takes a plain picture for a letter now and then
    ]
    long_enough = [text for text in texts if max(text.box.width, text.box.height) >= 1.5 * _thickness(text)]
    changing, static = _without_static(long_enough, smalls)
    zones = _zones(changing, smalls[0].shape, len(smalls))
    return FoundZones(
        tuple(_scaled(zone, scale, width, height) for zone in zones),
        tuple(Text(text.picture, text.box.scaled(scale)) for text in static),
        len(smalls),
        len(texts),
    )


def _thickness(text: Text) -> int:
    return min(text.box.width, text.box.height)


def _without_static(texts: Sequence[Text], pictures: Sequence[Luma]) -> tuple[list[Text], list[Text]]:
    """Return the texts that change, and one of each that most pictures show with the same strokes."""
    static: list[Text] = []
    changing: list[Text] = []
    for text in texts:
        if any(text.box.overlap(known.box) > 0.6 for known in static):
            continue
        here = {other.picture for other in texts if other.box.overlap(text.box) > 0.7}
        if len(here) <= _STATIC_SHARE * len(pictures) or len(pictures) < 4:
            changing.append(text)
            continue
        strokes = Strokes(_crop(pictures[text.picture], text.box))
        same = sum(strokes.usable and strokes.shown_in(_crop(picture, text.box)) for picture in pictures)
        (static if same > _STATIC_SHARE * len(pictures) else changing).append(text)
    return [text for text in changing if not any(text.box.overlap(one.box) > 0.6 for one in static)], static


def _crop(picture: Luma, box: Box) -> Luma:
    return picture[box.top : box.bottom, box.left : box.right]


def _zones(texts: Sequence[Text], shape: tuple[int, ...], pictures: int) -> list[Zone]:
    rows = [text for text in texts if not text.box.is_column]
    columns = [text for text in texts if text.box.is_column]
    found: list[tuple[float, Zone]] = []
    for some, vertical in ((rows, False), (columns, True)):
        found += _of_direction(some, shape, pictures, vertical=vertical)
    return [zone for _, zone in sorted(found, key=lambda one: -one[0])]


def _of_direction(
    texts: Sequence[Text], shape: tuple[int, ...], pictures: int, *, vertical: bool
) -> list[tuple[float, Zone]]:
    length = shape[1] if vertical else shape[0]
    weights = np.zeros(length, np.float64)
    for text in texts:
        start, end = _span(text.box, vertical=vertical)
        weights[start:end] += _reach(text.box, vertical=vertical)
    if not vertical:
        weights[length // 2 :] *= _LOWER_WEIGHT
    found: list[tuple[float, Zone]] = []
    first = weights.max(initial=0.0)
    while (peak := weights.max(initial=0.0)) > _LEAST_PEAK * first and peak > 0:
        start, end = _grown(weights, peak)
        weights[start:end] = 0
        mine = [text for text in texts if _lies_in(_span(text.box, vertical=vertical), start, end)]
        zone = _zone(mine, start, end, shape, pictures, vertical=vertical)
        if zone is not None:
            found.append((peak, zone))
    return found


def _span(box: Box, *, vertical: bool) -> tuple[int, int]:
    return (box.left, box.right) if vertical else (box.top, box.bottom)


def _reach(box: Box, *, vertical: bool) -> int:
    return box.height if vertical else box.width


def _lies_in(span: tuple[int, int], start: int, end: int) -> bool:
    return min(span[1], end) - max(span[0], start) > 0.5 * (span[1] - span[0])


def _grown(weights: NDArray[np.float64], peak: float) -> tuple[int, int]:
    place = int(weights.argmax())
    start = end = place
    while start > 0 and weights[start - 1] > _GROW * peak:
        start -= 1
    while end < len(weights) and weights[end] > _GROW * peak:
        end += 1
    return start, end


def _zone(
    texts: Sequence[Text], start: int, end: int, shape: tuple[int, ...], pictures: int, *, vertical: bool
) -> Zone | None:
    """Return the zone of some rows; None when what stands there is no subtitle."""
    showing = len({text.picture for text in texts})
    if len(texts) < min(_LEAST_TEXTS, max(1, pictures // 2)) or showing < 0.02 * pictures:
        return None
    across = shape[0] if vertical else shape[1]
    share, alignment = _in_line([text.box for text in texts], across, vertical=vertical)
    if share < _IN_LINE:
        return None
    heights = sorted(min(text.box.width, text.box.height) for text in texts)
    font = heights[len(heights) // 2]
    lines = max(sum(text.picture == number for text in texts) for number in {text.picture for text in texts})
    area = Region(start, 0, end - start, shape[0]) if vertical else Region(0, start, shape[1], end - start)
    return Zone(area, round(share, 3), "vertical" if vertical else "horizontal", alignment, lines, font)


def _in_line(boxes: Sequence[Box], across: int, *, vertical: bool) -> tuple[float, str]:
    """Return which share of the boxes is aligned in the commonest way, and that way."""
    near = 0.03 * across
    ends = [(box.top, box.bottom) if vertical else (box.left, box.right) for box in boxes]
    ways = {
        "center": [(start + end) / 2 for start, end in ends],
        "left": [float(start) for start, _ in ends],
        "right": [float(end) for _, end in ends],
    }
    best, name = 0.0, "center"
    for way, places in ways.items():
        middle = float(np.median(places))
        share = sum(abs(place - middle) <= near for place in places) / len(places)
        if share > best + 0.05:
            best, name = share, way
    return best, "top" if vertical and name == "left" else name


def _scaled(zone: Zone, scale: float, width: int, height: int) -> Zone:
    """Bring a zone into the pixels of the picture, with room for a line that no picture happened to show."""
    font = round(zone.font_height * scale)
    box = Box(zone.area.x, zone.area.y, zone.area.x + zone.area.width, zone.area.y + zone.area.height)
    box = box.scaled(scale)
    room = font
    if zone.orientation == "vertical":
        inward = (box.left + box.right) / 2 > width / 2
        box = Box(
            box.left - _PADDING - (room if inward else 0),
            box.top,
            box.right + _PADDING + (0 if inward else room),
            box.bottom,
        )
    else:
        below = (box.top + box.bottom) / 2 > height / 2
        box = Box(
            box.left,
            box.top - _PADDING - (room if below else 0),
            box.right,
            box.bottom + _PADDING + (0 if below else room),
        )
    box = box.within(width, height)
    area = Region(box.left, box.top, box.width, box.height)
    return Zone(area, zone.confidence, zone.orientation, zone.alignment, zone.lines, font)
