"""A film read: decode, follow lines, read each of them, make cues. Runs in a process of its own and yields as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from media.faults import MediaFault
from services.ocr import cue as cues
from services.ocr.cue import Cue, ReadLine
from services.ocr.decoding import frames_ahead
from services.ocr.engine import Engine, Reading
from services.ocr.film import Film, of_media, probe
from services.ocr.following import BACK_SECONDS, Follower
from services.ocr.line import Line
from services.ocr.reader import Reader
from services.ocr.reading_items import Figures, Options, Position, Progress, Result
from services.ocr.view import View, given, lower_third, without_overlap
from services.ocr.zones import find_zones

_POSITION_SECONDS = 60.0
_NOWHERE = Position()


def read_film(
    engine: Engine, path: Path, options: Options, begun: Position = _NOWHERE
) -> Iterator[Progress | Result]:
    """Read a film, or go on where another process has stopped; yields Progress for each piece, and the Result at last.

    Raises OcrFault.
    """
    film = probe(path)
    engine.begin(options.language, replace(begun.runs))
    view = view_of(engine, film, options, begun)
    yield from _Reading(engine, film, view, options, begun).run()


class _Reading:
    """One film on its way."""

    def __init__(self, engine: Engine, film: Film, view: View, options: Options, begun: Position) -> None:
        self._engine, self._film, self._view, self._options = engine, film, view, options
        self._begun = begun
        self._lines = list(begun.lines)
        self._frames = begun.frames
        self._reader = Reader(engine)
        self._next_position = begun.until + _POSITION_SECONDS

    def run(self) -> Iterator[Progress | Result]:
        """Read to the end."""
        film, begun = self._film, self._begun
        until, first = begun.until, max(0.0, begun.until - BACK_SECONDS) if begun.until else 0.0
        for piece in Follower(self._engine, begun.open_lines).follow(frames_ahead(film, self._view, first)):
            self._frames += piece.frames
            until = max(until, piece.until)
            lasting = [line for line in piece.lines if self._lasts(line)]
            fresh = self._taken(self._reader.add(lasting, until))
            position = None
            if until >= self._next_position:
                self._next_position = until + _POSITION_SECONDS
                fresh += self._taken(self._reader.flush())
                position = self._position(until, piece.open_lines)
            yield Progress(until, film.duration_seconds, fresh, position)
        fresh = self._taken(self._reader.flush())
        yield Progress(until, film.duration_seconds, fresh)
        yield self._result(until)

    def _lasts(self, line: Line) -> bool:
        """Whether it is shown long enough, and was not over when an earlier process stopped, which then has read it."""
        return line.duration >= self._options.min_seconds and line.end > self._begun.until

    def _taken(self, read: Sequence[tuple[Line, Reading]]) -> tuple[ReadLine, ...]:
        fresh = tuple(
            _placed(line, one, self._view)
            for line, one in read
            if one.confidence >= self._options.confidence and _says_something(one)
        )
        self._lines += fresh
        return fresh

    def _position(self, until: float, open_lines: Sequence[Line]) -> Position:
        return Position(
            until,
            tuple(self._lines),
            tuple((line.box, line.start) for line in open_lines),
            tuple((zone.x, zone.y, zone.x + zone.width, zone.y + zone.height) for zone in self._view.zones),
            self._frames,
            replace(self._engine.runs),
        )

    def _result(self, seconds: float) -> Result:
        film, options = self._film, self._options
        cue_list, static, scene = sorted_out(
            self._lines, film, options, seconds, seconds / max(1, self._frames - 1)
        )
        figures = Figures(self._frames, replace(self._engine.runs))
        engine = self._engine
        return Result(
            film,
            self._view.zones,
            cue_list,
            static,
            scene,
            figures,
            engine.name,
            engine.device,
            seconds,
        )


def sorted_out(
    lines: Sequence[ReadLine], film: Film, options: Options, seconds: float, frame_seconds: float
) -> tuple[tuple[Cue, ...], tuple[ReadLine, ...], tuple[ReadLine, ...]]:
    """Return cues, and the lines that are no subtitles: static ones, and those of the scene."""
    changing = cues.merged(lines, options.merge_gap_seconds)
    static: list[ReadLine] = []
    scene: list[ReadLine] = []
    if options.drop_static_text:
        changing, static = cues.split_static(changing, seconds)
    if options.drop_scene_text:
        changing, scene = cues.split_scene(changing, film.width)
    return tuple(cues.stacked(changing, 3.5 * frame_seconds)), tuple(static), tuple(scene)


def view_of(engine: Engine, film: Film, options: Options, begun: Position = _NOWHERE) -> View:
    """Return where to look: as asked, as before, as found, or the lower third. Raises OcrFault (AREA_OUTSIDE_FRAME)."""
    try:
        if begun.zones or options.zones:
            return given(begun.zones or options.zones, film.size)
    except MediaFault as fault:
        raise of_media(fault, "/subtitle_area") from None
    if options.find_zones:
        found = find_zones(engine, film)
        if found.zones:
            return View(without_overlap([zone.area for zone in found.zones]))
    return lower_third(film.size)


def _says_something(reading: Reading) -> bool:
    letters = sum(sign.isalnum() for sign in reading.text)
    return letters > 1 or (letters == 1 and reading.confidence >= 0.9)


def _placed(line: Line, reading: Reading, view: View) -> ReadLine:
    text = cues.normalised(reading.text)
    return ReadLine(line.start, line.end, text, reading.text, reading.confidence, view.in_picture(line.box))
