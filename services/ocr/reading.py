"""A film read: decode, follow lines, read each of them, make cues. Runs in a process of its own and yields as it goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.ocr import cue as cues
from services.ocr.cue import Cue, ReadLine
from services.ocr.engine import Box, Engine, Reading
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Area, Film, frames, probe
from services.ocr.following import Follower
from services.ocr.line import Line
from services.ocr.reading_items import Figures, Options, Progress, Result

_SURE = 0.93
"""A reading with less confidence is compared with one of another frame."""


def read_film(engine: Engine, path: Path, options: Options) -> Iterator[Progress | Result]:
    """Read a film; yields Progress for each piece, and the Result at last. Raises OcrFault."""
    film = probe(path)
    area = area_of(film, options.area)
    lines: list[ReadLine] = []
    follower, count, calls, readings, until = Follower(engine), 0, 0, 0, 0.0
    for piece in follower.follow(frames(film, area)):
        count, calls = count + piece.frames, calls + piece.found_calls
        lasting = [line for line in piece.lines if line.duration >= options.min_seconds]
        read, used = read_lines(engine, lasting)
        readings += used
        fresh = tuple(
            _placed(line, one, area)
            for line, one in zip(lasting, read, strict=True)
            if one.confidence >= options.confidence and _says_something(one)
        )
        lines += fresh
        until = max(until, piece.until)
        yield Progress(until, film.duration_seconds, fresh)
    seconds = until - film.start_seconds
    frame_seconds = seconds / max(1, count - 1)
    result = _sorted_out(lines, film, options, seconds, frame_seconds)
    yield Result(film, area, *result, Figures(count, calls, readings), engine.name)


def _sorted_out(
    lines: list[ReadLine], film: Film, options: Options, seconds: float, frame_seconds: float
) -> tuple[tuple[Cue, ...], tuple[ReadLine, ...], tuple[ReadLine, ...]]:
    changing = cues.merged(lines, options.merge_gap_seconds)
    static: list[ReadLine] = []
    scene: list[ReadLine] = []
    if options.drop_static_text:
        changing, static = cues.split_static(changing, seconds)
    if options.drop_scene_text:
        changing, scene = cues.split_scene(changing, film.width)
    return tuple(cues.stacked(changing, 3.5 * frame_seconds)), tuple(static), tuple(scene)


def area_of(film: Film, corners: Sequence[int] | None) -> Area:
    """Return the area to read, inside the picture. Raises OcrFault (AREA_OUTSIDE_FRAME)."""
    x1, y1, x2, y2 = corners or (0, film.height * 2 // 3, film.width, film.height)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, film.width), min(y2, film.height)
    if x2 - x1 < 8 or y2 - y1 < 8:
        message = (
            f"the area {list(corners or ())} has no 8 × 8 pixels in the picture of {film.width}x{film.height}"
        )
        raise OcrFault(FaultCode.AREA_OUTSIDE_FRAME, message, "/subtitle_area")
    return Area(x1, y1, x2 - x1, y2 - y1)


def read_lines(engine: Engine, lines: Sequence[Line]) -> tuple[list[Reading], int]:
    """Read lines, all in one call, and the unsure ones again from another frame; returns readings and calls."""
    if not lines:
        return [], 0
    read = engine.read([line.mean() for line in lines])
    unsure = [number for number, one in enumerate(read) if one.confidence < _SURE]
    if not unsure:
        return read, 1
    again = engine.read([lines[number].seen for number in unsure])
    for number, other in zip(unsure, again, strict=True):
        read[number] = vote([read[number], other])
    return read, 2


def vote(readings: Sequence[Reading]) -> Reading:
    """Return the text with most confidence in all, with its best confidence."""
    weights: dict[str, float] = defaultdict(float)
    best: dict[str, Reading] = {}
    for one in readings:
        weights[one.text] += one.confidence
        if one.text not in best or best[one.text].confidence < one.confidence:
            best[one.text] = one
    return best[max(weights, key=lambda text: weights[text])]


def _says_something(reading: Reading) -> bool:
    letters = sum(sign.isalnum() for sign in reading.text)
    return letters > 1 or (letters == 1 and reading.confidence >= 0.9)


def _placed(line: Line, reading: Reading, area: Area) -> ReadLine:
    box = Box(
        line.box.left + area.x, line.box.top + area.y, line.box.right + area.x, line.box.bottom + area.y
    )
    text = cues.normalised(reading.text)
    return ReadLine(line.start, line.end, text, reading.text, reading.confidence, box)
