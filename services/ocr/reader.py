"""Lines of pixels become text: several in one call of the engine, and unsure ones once more from another picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.ocr.columns import drawn_again, is_column, laid_level
from services.ocr.engine import Engine, Reading
from services.ocr.film import Luma
from services.ocr.line import Line

_SURE = 0.93
"""A reading with less confidence is compared with one of another picture."""
_HOPELESS = 0.3
"""A reading with less is of no text: no other frame makes it one."""
_SIGN = 1.6
"""Length over height below which a line has room for one sign only …"""
_HOPELESS_SIGN = 0.6
"""… which is mostly something of the scene when it is read with less confidence than this."""
_TOGETHER = 8
"""Lines that are read in one call; more wait for nobody."""
_WAIT_SECONDS = 30.0
"""Of film, after which lines are read though they are fewer."""


@dataclass(eq=False)
class _Waiting:
    line: Line
    readings: list[Reading] = field(default_factory=list)


class Reader:
    """Collects the lines of one film and reads them in batches."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[_Waiting] = []
        self._since = float("inf")

    def add(self, lines: Sequence[Line], until: float) -> list[tuple[Line, Reading]]:
        """Take lines that are over at a time of the film; returns those that have been read by now, earlier ones among them."""
        if lines and not self._waiting:
            self._since = until
        self._waiting += (_Waiting(line) for line in lines)
        if len(self._waiting) >= _TOGETHER or (self._waiting and until - self._since >= _WAIT_SECONDS):
            self._since = until
            return self._read()
        return []

    def flush(self) -> list[tuple[Line, Reading]]:
        """Read all that waits."""
        read: list[tuple[Line, Reading]] = []
        while self._waiting:
            read += self._read()
        return read

    def _read(self) -> list[tuple[Line, Reading]]:
        pictures = [_second(one.line) if one.readings else level(one.line.mean()) for one in self._waiting]
        for one, reading in zip(self._waiting, self._engine.read(pictures), strict=True):
            one.readings.append(reading)
        unsure = [one for one in self._waiting if len(one.readings) == 1 and _is_unsure(one)]
        done = [one for one in self._waiting if one not in unsure]
        self._waiting = unsure
        return [(one.line, vote(one.readings)) for one in done]


def _is_unsure(one: _Waiting) -> bool:
    short, long = sorted((one.line.box.width, one.line.box.height))
    hopeless = _HOPELESS_SIGN if long < _SIGN * short else _HOPELESS
    return hopeless <= one.readings[0].confidence < _SURE


def _second(line: Line) -> Luma:
    """Return another picture of a line that was read unsurely: that of one frame, or, of a column, its letters drawn again."""
    once = line.once()
    return laid_level(drawn_again(line.mean())) if is_column(once) else once


def level(picture: Luma) -> Luma:
    """Return a picture of one line as engines read it: from left to right."""
    return laid_level(picture) if is_column(picture) else picture


def vote(readings: Sequence[Reading]) -> Reading:
    """Return the text with most confidence in all, with its best confidence."""
    weights: dict[str, float] = defaultdict(float)
    best: dict[str, Reading] = {}
    for one in readings:
        weights[one.text] += one.confidence
        if one.text not in best or best[one.text].confidence < one.confidence:
            best[one.text] = one
    return best[max(weights, key=lambda text: weights[text])]
