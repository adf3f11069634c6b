"""Lines of a film, followed from frame to frame: which text stands where, from when to when, to the exact frame.

Frames come in pieces of about a second and a half. Of the samples that the gate lets through, the detector sees those of one piece
in one call; each line that it finds is followed backward and forward through the frames by its strokes alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services.ocr.engine import Box, Engine
from services.ocr.film import Frame
from services.ocr.gate import Gate
from services.ocr.line import Line, Strokes

SAMPLE_SECONDS = 0.1
_PIECE_SAMPLES = 16
_BACK_SECONDS = 1.0
_MAX_MISSED = 1
"""Frames without the strokes after which the line is over; damage of a single frame is bridged by merging equal cues."""


@dataclass(frozen=True)
class _Numbered:
    number: int
    frame: Frame


@dataclass
class Piece:
    """What one piece of film has brought."""

    until: float
    """Time of its last frame."""
    lines: list[Line]
    """Lines that are over."""
    frames: int
    found_calls: int
    """Calls of the detector."""


class Follower:
    """Follows the lines of one film."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gate = Gate()
        self._active: list[Line] = []
        self._recent: deque[_Numbered] = deque()
        self._next_sample = float("-inf")
        self._frame_seconds = 0.04

    def follow(self, frames: Iterable[Frame]) -> Iterator[Piece]:
        """Yield each piece; the last one closes all lines."""
        piece: list[_Numbered] = []
        samples: list[_Numbered] = []
        count = 0
        for number, frame in enumerate(frames):
            one = _Numbered(number, frame)
            piece.append(one)
            if frame.time >= self._next_sample:
                self._next_sample = max(self._next_sample, frame.time - SAMPLE_SECONDS) + SAMPLE_SECONDS
                samples.append(one)
                count += 1
            if count == _PIECE_SAMPLES or len(piece) > 240:
                yield self._take(piece, samples, final=False)
                piece, samples, count = [], [], 0
        yield self._take(piece, samples, final=True)

    def _take(self, piece: Sequence[_Numbered], samples: Sequence[_Numbered], *, final: bool) -> Piece:
        if len(piece) > 1:
            self._frame_seconds = (piece[-1].frame.time - piece[0].frame.time) / (len(piece) - 1)
        active = list(self._active)
        for line in active:
            self._forward(line, piece)
        passed = self._passed(samples, active)
        calls, shown = 0, set[int]()
        while passed:
            calls += 1
            shown.update(one.number for one in passed)
            for one, boxes in zip(passed, self._engine.find([one.frame.luma for one in passed]), strict=True):
                for box in rows(boxes):
                    self._meet(one, box, piece)
            passed = self._after_ends(samples, shown)
        until = piece[-1].frame.time if piece else 0.0
        for line in self._active if final else ():
            line.over, line.end = True, line.end or until + self._frame_seconds
        over = [line for line in self._active if line.over]
        self._active = [line for line in self._active if not line.over]
        self._keep(piece)
        return Piece(until, over, len(piece), calls)

    def _after_ends(self, samples: Sequence[_Numbered], shown: set[int]) -> list[_Numbered]:
        """Return the samples that follow the ends of lines found in this piece: the next line may have come in the same frame,
        in the same place, with nearly the same letters, which the gate does not see.
        """
        firsts = (
            next((one for one in samples if one.number > line.last), None)
            for line in self._active
            if line.over
        )
        fresh = {one.number: one for one in firsts if one is not None and one.number not in shown}
        return [fresh[number] for number in sorted(fresh)]

    def _passed(self, samples: Sequence[_Numbered], lines: Sequence[Line]) -> list[_Numbered]:
        """Return the samples for the detector: those of the gate, and the first after each line's end.

        A cut to another scene may hide strokes that are still there, and brings no edges that are new where they stand.
        """
        ended = {line.last for line in lines if line.over}
        passed = []
        for one in samples:
            after = {last for last in ended if last < one.number}
            ended -= after
            known = [line.box for line in lines if line.first <= one.number <= line.last]
            if self._gate.takes(one.frame.luma, known) or after:
                passed.append(one)
        return passed

    def _keep(self, piece: Sequence[_Numbered]) -> None:
        self._recent.extend(piece)
        while self._recent and self._recent[0].frame.time < self._recent[-1].frame.time - _BACK_SECONDS:
            self._recent.popleft()

    def _meet(self, at: _Numbered, box: Box, piece: Sequence[_Numbered]) -> None:
        """Take a box that the detector has found in a frame: a line that is known there, or a new one."""
        if any(line.first <= at.number <= line.last and box.overlap(line.box) > 0.5 for line in self._active):
            return
        luma = at.frame.luma
        margin = max(2, box.height // 10)
        around = Box(
            max(0, box.left - margin),
            max(0, box.top - margin),
            min(luma.shape[1], box.right + margin),
            min(luma.shape[0], box.bottom + margin),
        )
        crop = luma[around.top : around.bottom, around.left : around.right].copy()
        strokes = Strokes(crop)
        if not strokes.usable:
            return
        line = Line(around, strokes, crop, at.number, at.number, at.frame.time)
        line.add(crop)
        self._backward(line, [*self._recent, *piece])
        self._forward(line, piece)
        self._active.append(line)

    def _backward(self, line: Line, frames: Sequence[_Numbered]) -> None:
        earlier = [one for one in frames if one.number < line.first]
        for one in reversed(earlier):
            if not line.strokes.shown_in(line.crop(one.frame.luma)):
                break
            line.first, line.start = one.number, one.frame.time

    def _forward(self, line: Line, piece: Sequence[_Numbered]) -> None:
        missed = 0
        for one in piece:
            if one.number <= line.last or line.over:
                continue
            crop = line.crop(one.frame.luma)
            if line.strokes.shown_in(crop):
                line.last, line.end, missed = one.number, 0.0, 0
                line.add(crop)
                continue
            line.end = line.end or one.frame.time
            missed += 1
            if missed >= _MAX_MISSED:
                line.over = True


def rows(boxes: Sequence[Box]) -> list[Box]:
    """Join boxes that stand in one row with less than a space's width of two letters between them."""
    joined: list[Box] = []
    for box in sorted(boxes, key=lambda one: one.left):
        for number, other in enumerate(joined):
            down = min(box.bottom, other.bottom) - max(box.top, other.top)
            lower = min(box.height, other.height)
            if down > 0.6 * lower and box.left - other.right < 1.5 * lower:
                joined[number] = Box(
                    min(box.left, other.left),
                    min(box.top, other.top),
                    max(box.right, other.right),
                    max(box.bottom, other.bottom),
                )
                break
        else:
            joined.append(box)
    return joined
