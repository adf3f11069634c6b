"""Lines of a film, followed from frame to frame: which text stands where, from when to when, to the exact frame.

Frames come in pieces of some seconds. Of the samples that the gate lets through, the detector sees those of one piece in one call,
made small; each line that it finds is followed backward and forward through the frames by its strokes alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from services.ocr.engine import Box, Engine
from services.ocr.film import Frame, Luma
from services.ocr.gate import Fresh, Gate, has_strokes
from services.ocr.line import Line, Strokes
from services.ocr.small import small_of
from services.ocr.text_rows import is_blob, rows

SAMPLE_SECONDS = 0.1
PIECE_SECONDS = 6.0
_PIECE_BYTES = 96 * 1024 * 1024
"""What the frames of a piece may take: it ends there, however short it is."""
BACK_SECONDS = 1.0
"""How far a line is looked for before the piece in which it was found."""
_MAX_MISSED = 1
"""Frames without the strokes after which the line is over; damage of a single frame is bridged by merging equal cues."""
_KNOWN_OVERLAP = 0.5
_CHANCES = (1, 3)
"""Samples after one that the gate took which the detector sees where not all is found that was new: in one it may miss a line."""
_SECOND_LOOKS = (5, 8)
"""Samples after one that the gate took in which the detector looks once more when it has found nothing."""
_LONGER = 1.2
"""Times that a box is as long as a known line in it which then was but a part."""


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class _Sample:
    at: _Numbered
    small: Luma
    """As the gate and the detector see it."""


@dataclass
class _Chance:
    """The detector may see a sample once more for what was new in an earlier one."""

    fresh: Fresh
    place: int
    """Of the sample in its piece, or after the end of it: in the next one."""


@dataclass
class Piece:
    """What one piece of film has brought."""

    until: float
    """Time of its last frame."""
    lines: list[Line]
    """Lines that are over."""
    open_lines: list[Line]
    """Lines that go on."""
    frames: int


class Follower:
    """Follows the lines of one film."""

    def __init__(
        self, engine: Engine, known: Sequence[tuple[Box, float]] = (), *, gate: Gate | None = None
    ) -> None:
        """`known`: boxes, and starts, of lines that were there already when reading stopped at an earlier time."""
        self._engine = engine
        self._known = list(known)
        self._gate = gate or Gate()
        self._active: list[Line] = []
        self._recent: deque[_Numbered] = deque()
        self._next_sample = float("-inf")
        self._frame_seconds = 0.04
        self._scale = 1.0
        self._chances: list[_Chance] = []
        self._fired: list[tuple[int, tuple[int, int]]] = []
        """Frames that the gate has taken in this piece, and where something was new in them, in small pixels."""

    def follow(self, frames: Iterable[Frame]) -> Iterator[Piece]:
        """Yield each piece; the last one closes all lines."""
        piece: list[_Numbered] = []
        samples: list[_Sample] = []
        for number, frame in enumerate(frames):
            if piece and self._is_full(piece, frame):
                yield self._take(piece, samples, final=False)
                piece, samples = [], []
            one = _Numbered(number, frame)
            piece.append(one)
            if frame.time >= self._next_sample:
                self._next_sample = max(self._next_sample, frame.time - SAMPLE_SECONDS) + SAMPLE_SECONDS
                samples.append(_Sample(one, self._small(frame.luma)))
        yield self._take(piece, samples, final=True)

    def _is_full(self, piece: Sequence[_Numbered], frame: Frame) -> bool:
        first = piece[0].frame
        return frame.time - first.time >= PIECE_SECONDS or len(piece) * first.luma.nbytes >= _PIECE_BYTES

    def _small(self, luma: Luma) -> Luma:
        small = small_of(self._engine, luma)
        self._scale = small.shape[1] / luma.shape[1]
        return small

    def _take(self, piece: Sequence[_Numbered], samples: Sequence[_Sample], *, final: bool) -> Piece:
        if len(piece) > 1:
            self._frame_seconds = (piece[-1].frame.time - piece[0].frame.time) / (len(piece) - 1)
        active = list(self._active)
        for line in active:
            self._forward(line, piece)
        shown = set[int]()
        for looked_at in self._looks(samples, active, shown):
            shown.update(one.at.number for one in looked_at)
            found = zip(looked_at, self._engine.find([one.small for one in looked_at]), strict=True)
            met = [(one.at, box) for one, boxes in found for box in rows(boxes)]
            # The longest first: what the detector sees in one frame as a whole line may be half a line in another.
            for at, box in sorted(met, key=lambda pair: -pair[1].length):
                self._meet(at, box.scaled(1 / self._scale), piece)
        until = piece[-1].frame.time if piece else 0.0
        for line in self._active if final else ():
            line.over, line.end = True, line.end or until + self._frame_seconds
        over = [line for line in self._active if line.over]
        self._active = [line for line in self._active if not line.over]
        self._keep(piece)
        return Piece(until, over, list(self._active), len(piece))

    def _looks(
        self, samples: Sequence[_Sample], lines: Sequence[Line], shown: set[int]
    ) -> Iterator[list[_Sample]]:
        """Yield what the detector is to see, for one call each; which samples that are depends on what it has found by then."""
        yield self._passed(samples, lines)
        yield self._after_ends(samples, shown) + self._again(samples, shown)
        fired, self._fired = self._fired, []
        yield self._after_ends(samples, shown) + self._second_looks(samples, fired, shown)
        while ended := self._after_ends(samples, shown):
            yield ended

    def _again(self, samples: Sequence[_Sample], shown: set[int]) -> list[_Sample]:
        """Return the samples soon after ones that the gate took in which something is left of what was new and is no line yet."""
        again: dict[int, _Sample] = {}
        waiting: list[_Chance] = []
        for chance in self._chances:
            if chance.place >= len(samples):
                waiting.append(replace(chance, place=chance.place - len(samples)))
                continue
            one = samples[chance.place]
            number = one.at.number
            if number not in shown and self._gate.leaves(
                chance.fresh, one.small, self._boxes(self._active, number)
            ):
                again[number] = one
        self._chances = waiting
        return [again[number] for number in sorted(again)]

    def _boxes(self, lines: Sequence[Line], number: int) -> list[Box]:
        """Return where lines stand in a frame, in small pixels."""
        return [line.box.scaled(self._scale) for line in lines if line.first <= number <= line.last]

    def _after_ends(self, samples: Sequence[_Sample], shown: set[int]) -> list[_Sample]:
        """Return the samples that follow the ends of lines found in this piece: the next line may have come in the same frame,
        in the same place, with nearly the same letters, which the gate does not see.
        """
        firsts = (self._first_after(line, samples) for line in self._active if line.over)
        fresh = {one.at.number: one for one in firsts if one is not None and one.at.number not in shown}
        return [fresh[number] for number in sorted(fresh)]

    def _second_looks(
        self, samples: Sequence[_Sample], fired: Sequence[tuple[int, tuple[int, int]]], shown: set[int]
    ) -> list[_Sample]:
        """Return later samples for places where the gate saw something and the detector found nothing: before a bright or restless
        picture it may find in one frame what it misses in another.
        """
        numbers = [one.at.number for one in samples]
        wanted: set[int] = set()
        for number, (column, row) in fired:
            across, down = column / self._scale, row / self._scale
            found = any(
                line.first <= number <= line.last and line.box.grown(8).holds(across, down)
                for line in self._active
            )
            if not found and number in numbers:
                place = numbers.index(number)
                wanted.update(place + later for later in _SECOND_LOOKS if place + later < len(samples))
        return [samples[place] for place in sorted(wanted) if numbers[place] not in shown]

    def _first_after(self, line: Line, samples: Sequence[_Sample]) -> _Sample | None:
        """Return the first sample after a line's end if its place holds strokes in it."""
        first = next((one for one in samples if one.at.number > line.last), None)
        holds = first is not None and has_strokes(first.small, line.box.scaled(self._scale))
        return first if holds else None

    def _passed(self, samples: Sequence[_Sample], lines: Sequence[Line]) -> list[_Sample]:
        """Return the samples for the detector: those of the gate, and the first after the end of each line that is known already.

        A cut to another scene may hide strokes that are still there, and brings no edges that are new where they stand.
        """
        firsts = (self._first_after(line, samples) for line in lines if line.over)
        wanted = {one.at.number for one in firsts if one is not None}
        passed = []
        for place, one in enumerate(samples):
            number = one.at.number
            taken = self._gate.takes(one.small, self._boxes(lines, number))
            if taken:
                self._chances += (_Chance(self._gate.fresh, place + later) for later in _CHANCES)
                if self._gate.place and self._gate.place != (0, 0):
                    self._fired.append((number, self._gate.place))
            if taken or number in wanted:
                passed.append(one)
        return passed

    def _keep(self, piece: Sequence[_Numbered]) -> None:
        self._recent.extend(piece)
        while self._recent and self._recent[0].frame.time < self._recent[-1].frame.time - BACK_SECONDS:
            self._recent.popleft()

    def _meet(self, at: _Numbered, box: Box, piece: Sequence[_Numbered]) -> None:
        """Take a box that the detector has found in a frame: a line that is known there, or a new one."""
        here = (line for line in self._active if line.first <= at.number <= line.last)
        known = [line for line in here if box.overlap(line.box) > _KNOWN_OVERLAP]
        if any(box.length < _LONGER * line.box.length for line in known):
            return
        luma = at.frame.luma
        if is_blob(box, luma):
            return
        margin = max(2, min(box.height, box.width) // 10)
        around = box.grown(margin).within(luma.shape[1], luma.shape[0])
        crop = luma[around.top : around.bottom, around.left : around.right].copy()
        strokes = Strokes(crop)
        if not strokes.usable:
            return
        line = Line(around, strokes, crop, at.number, at.number, at.frame.time)
        line.add(crop)
        self._backward(line, [*self._recent, *piece])
        self._forward(line, piece)
        # A part that is shown for longer than the whole is a line to which something was added: it stays what it is.
        if all(line.first <= part.first and part.last <= line.last for part in known):
            self._active = [one for one in self._active if one not in known] + [line]

    def _backward(self, line: Line, frames: Sequence[_Numbered]) -> None:
        for one in reversed(frames):
            if one.number >= line.first:
                continue
            if not line.strokes.shown_in(line.crop(one.frame.luma)):
                return
            line.first, line.start = one.number, one.frame.time
        if line.first == 0:
            # It was there when an earlier reading stopped.
            same = (start for box, start in self._known if box.overlap(line.box) > _KNOWN_OVERLAP)
            line.start = min(same, default=line.start)

    def _forward(self, line: Line, piece: Sequence[_Numbered]) -> None:
        missed = 0
        for one in piece:
            if one.number <= line.last or line.over:
                continue
            crop = line.crop(one.frame.luma)
            if line.goes_on_in(crop):
                line.last, line.end, missed = one.number, 0.0, 0
                line.add(crop)
                continue
            line.end = line.end or one.frame.time
            missed += 1
            if missed >= _MAX_MISSED:
                line.over = True
