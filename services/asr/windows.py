"""Windows: stretches of speech put together to what the recogniser hears at once, silence cut out, cut where speakers pause.

Time in a window is not time on the clock: silence between its pieces is not in it, beyond the pads. So no word can lie there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.asr.sound import Samples, Sound
from services.asr.voice_activity import Speech

_LEAST_FILL = 0.75
"""A window costs the same however full it is; error rates were the same for a half, a quarter more windows."""
_PAUSE_WORTH = 1.0
"""A pause this long, in seconds, is as good a place to cut as any longer one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Speech with its pads: what is read from the recording, `start` to `end`."""

    start: float
    end: float
    speech: Speech

    @property
    def seconds(self) -> float:
        """Length with pads."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Window:
    """Pieces that are heard at once."""

    pieces: tuple[Piece, ...]

    @property
    def start(self) -> float:
        """Where it begins on the clock."""
        return self.pieces[0].start

    @property
    def end(self) -> float:
        """Where it ends on the clock."""
        return self.pieces[-1].end

    @property
    def seconds(self) -> float:
        """How much is heard."""
        return sum(piece.seconds for piece in self.pieces)

    @property
    def speech_seconds(self) -> float:
        """How much of it is speech."""
        return sum(piece.speech.seconds for piece in self.pieces)

    def read(self, sound: Sound, channel: int = 0) -> Samples:
        """Return its samples."""
        return np.concatenate([sound.read(piece.start, piece.end, channel) for piece in self.pieces])

    def place(self, instant: float) -> tuple[Piece, float]:
        """Return the piece in which an instant of the window lies, and the instant on the clock."""
        for piece in self.pieces:
            if instant <= piece.seconds or piece is self.pieces[-1]:
                return piece, min(piece.start + max(0.0, instant), piece.end)
            instant -= piece.seconds
        raise AssertionError("a window has a piece")


def pad(found: Iterable[Speech], seconds: float, start: float, end: float) -> Iterator[Piece]:
    """Give speech with pads that neither overlap nor leave the stretch from `start` to `end`."""
    edge = start
    before: Speech | None = None
    for speech in found:
        if before is not None:
            middle = (before.end + speech.start) / 2
            last = min(before.end + seconds, middle)
            yield Piece(max(edge, before.start - seconds), last, before)
            edge = middle
        before = speech
    if before is not None:
        yield Piece(max(edge, before.start - seconds), min(before.end + seconds, end), before)


def pack(pieces: Iterable[Piece], limit_seconds: float, least_fill: float = _LEAST_FILL) -> Iterator[Window]:
    """Give windows of at most so many seconds: of the cuts that fill at least `least_fill` of one, the best pause."""
    waiting: list[Piece] = []
    for piece in pieces:
        waiting.append(piece)
        while sum(each.seconds for each in waiting) > limit_seconds and len(waiting) > 1:
            count = _best_cut(waiting, limit_seconds, least_fill)
            yield Window(tuple(waiting[:count]))
            waiting = waiting[count:]
    if waiting:
        yield Window(tuple(waiting))


def _best_cut(waiting: Sequence[Piece], limit_seconds: float, least_fill: float) -> int:
    best, best_score, length = 1, -1.0, 0.0
    for count in range(1, len(waiting)):
        length += waiting[count - 1].seconds
        if length > limit_seconds:
            break
        pause = waiting[count].speech.start - waiting[count - 1].speech.end
        fill = length / limit_seconds
        worth = min(pause, _PAUSE_WORTH) / _PAUSE_WORTH
        score = worth + fill if fill >= least_fill else fill - least_fill
        if score > best_score:
            best, best_score = count, score
    return best
