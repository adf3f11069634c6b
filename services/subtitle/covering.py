"""Text that is part of a film's picture, covered where and while it stands there. Knows no task.

What stood behind the text is not in the film any more: `fill` guesses it from the pixels around, `blur` leaves a smear, `box` a
bar. Nothing here paints a new background, as an inpainting model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import orjson

from services.subtitle.faults import FaultCode, SubtitleFault

Mode = Literal["fill", "blur", "box"]
_MARGIN_SHARE = 0.006
"""Of the picture's width, around the letters: their outlines and shadows."""
_TIME_MARGIN_SECONDS = 0.045
_JOIN_SECONDS = 0.3
_MOST_SPANS = 4000
"""Past these one rule of time is longer than a program's argument may be: the band is then covered all the time."""


@dataclass(frozen=True)
class Band:
    """A part of the picture in which text stands at times."""

    x: int
    y: int
    width: int
    height: int
    spans: tuple[tuple[float, float], ...]
    """When, in seconds; empty: all the time."""


def read_bands(path: Path, width: int, height: int) -> list[Band]:
    """Return what to cover in a picture of this size, of the JSON that `paddleocr.extract_subtitles` writes.

    Lines whose rows overlap are one band, as wide as the widest of them. Raises SubtitleFault (SUBTITLE_UNREADABLE).
    """
    try:
        document = orjson.loads(path.read_bytes())
        across, down = width / document["width"], height / document["height"]
        found = [
            (tuple(map(float, line["bbox"])), float(cue["startTime"]), float(cue["endTime"]))
            for cue in document["subtitles"]
            for line in cue["lines"]
        ]
        boxes = [_Box.scaled(box, across, down, (start, end)) for box, start, end in found]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        message = f"{path.name} is not what paddleocr.extract_subtitles writes as JSON"
        raise SubtitleFault(FaultCode.SUBTITLE_UNREADABLE, message, "/cover_path") from None
    margin = max(2, round(_MARGIN_SHARE * width))
    return [band for group in _rows(boxes) if (band := _band(group, margin, width, height))]


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float
    span: tuple[float, float]

    @classmethod
    def scaled(cls, box: tuple[Any, ...], across: float, down: float, span: tuple[float, float]) -> _Box:
        left, top, right, bottom = box
        return cls(left * across, top * down, right * across, bottom * down, span)


def _rows(boxes: Sequence[_Box]) -> list[list[_Box]]:
    """Group boxes whose rows overlap."""
    groups: list[list[_Box]] = []
    bottom = 0.0
    for box in sorted(boxes, key=lambda one: one.top):
        if groups and box.top <= bottom:
            groups[-1].append(box)
            bottom = max(bottom, box.bottom)
        else:
            groups.append([box])
            bottom = box.bottom
    return groups


def _band(boxes: Sequence[_Box], margin: int, width: int, height: int) -> Band | None:
    # The filters need a pixel of the picture on every side.
    left = max(1, int(min(box.left for box in boxes)) - margin)
    top = max(1, int(min(box.top for box in boxes)) - margin)
    right = min(width - 1, int(max(box.right for box in boxes)) + 1 + margin)
    bottom = min(height - 1, int(max(box.bottom for box in boxes)) + 1 + margin)
    if right - left < 2 or bottom - top < 2:
        return None
    spans = _joined(
        [(box.span[0] - _TIME_MARGIN_SECONDS, box.span[1] + _TIME_MARGIN_SECONDS) for box in boxes]
    )
    return Band(left, top, right - left, bottom - top, tuple(spans) if len(spans) <= _MOST_SPANS else ())


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if found and start - found[-1][1] <= _JOIN_SECONDS:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((max(0.0, start), end))
    assert all(one[1] < other[0] for one, other in pairwise(found))
    return found


def cover_graph(bands: Sequence[Band], mode: Mode) -> str:
    """Return the ffmpeg filters that cover the bands, in the chain of one picture; `null` for none."""
    return ",".join(_filter(band, mode, number) for number, band in enumerate(bands)) or "null"


def _filter(band: Band, mode: Mode, number: int) -> str:
    when = "+".join(f"between(t,{start:.3f},{end:.3f})" for start, end in band.spans)
    enable = f":enable='{when}'" if when else ""
    place = f"x={band.x}:y={band.y}:w={band.width}:h={band.height}"
    if mode == "box":
        return f"drawbox={place}:color=black@1:t=fill{enable}"
    if mode == "fill":
        return f"delogo={place}{enable}"
    radius = max(1, min(band.width, band.height) // 5)
    return (
        f"split[whole{number}][part{number}];[part{number}]crop={band.width}:{band.height}:{band.x}:{band.y},"
        f"gblur=sigma={radius}[smear{number}];[whole{number}][smear{number}]overlay={band.x}:{band.y}{enable}"
    )
