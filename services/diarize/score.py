"""How well two answers agree on who spoke when: diarization error rate and Jaccard error rate.

Both are computed as the field does (NIST's md-eval, dscore, pyannote.metrics): speakers of the two sides are matched one to one so
that they share the most time; the DER counts missed, invented and confused speaker time over the speaker time of the reference;
the JER is the mean, over reference speakers, of one minus the Jaccard index of the matched pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.diarize.assignment import best_pairs
from services.diarize.turns import Turn

Span = tuple[float, float]


@dataclass(frozen=True)
class DiarizationScore:
    """Seconds by kind; `der` is their sum over `total`."""

    total: float
    """Speaker time of the reference: two who speak at once count twice."""
    missed: float
    invented: float
    confused: float
    jer: float
    """Jaccard error rate, 0 to 1; computed without collar, as its definition says."""
    speaker_count_error: int
    """Speakers of the answer minus those of the reference."""

    @property
    def der(self) -> float:
        """The diarization error rate; may exceed 1. 0 when neither side has speech."""
        errors = self.missed + self.invented + self.confused
        return errors / self.total if self.total else float(errors > 0)


def score(
    reference: Sequence[Turn],
    answer: Sequence[Turn],
    *,
    collar_seconds: float = 0.0,
    spans: Sequence[Span] | None = None,
    skip_overlap: bool = False,
) -> DiarizationScore:
    """Score an answer.

    `collar_seconds` is left out on each side of every turn's start and end of the reference (the field's "0.25 s collar" is 0.25
    here); `spans` are the stretches to score (by default all that either side has, as a UEM file would say otherwise);
    `skip_overlap` leaves out where the reference has two speakers at once.
    """
    spans = spans if spans is not None else _extent([*reference, *answer])
    pieces = _pieces(reference, answer, spans, collar_seconds, skip_overlap)
    shared: dict[tuple[str, str], float] = {}
    for length, ours, theirs in pieces:
        for one in ours:
            for other in theirs:
                shared[one, other] = shared.get((one, other), 0.0) + length
    matched = best_pairs(shared)
    total = missed = invented = confused = 0.0
    for length, ours, theirs in pieces:
        right = sum(matched.get(one) in theirs for one in ours)
        total += length * len(ours)
        missed += length * max(len(ours) - len(theirs), 0)
        invented += length * max(len(theirs) - len(ours), 0)
        confused += length * (min(len(ours), len(theirs)) - right)
    return DiarizationScore(
        total=total,
        missed=missed,
        invented=invented,
        confused=confused,
        jer=_jaccard(_pieces(reference, answer, spans, 0.0, skip_overlap)),
        speaker_count_error=len({turn.speaker for turn in answer})
        - len({turn.speaker for turn in reference}),
    )


Piece = tuple[float, frozenset[str], frozenset[str]]


def _pieces(
    reference: Sequence[Turn],
    answer: Sequence[Turn],
    spans: Sequence[Span],
    collar_seconds: float,
    skip_overlap: bool,
) -> list[Piece]:
    """Cut time where anything changes; return length and the speakers of both sides of each piece that is scored."""
    collars = [
        (edge - collar_seconds, edge + collar_seconds)
        for turn in reference
        for edge in turn[:2]
        if collar_seconds
    ]
    # (time, kind, name, +1 or -1); kinds: 0 scored span, 1 collar, 2 reference, 3 answer
    changes = [change for span in spans for change in _changes(span, 0, "")]
    changes += [change for span in collars for change in _changes(span, 1, "")]
    changes += [change for turn in reference for change in _changes(turn[:2], 2, turn.speaker)]
    changes += [change for turn in answer for change in _changes(turn[:2], 3, turn.speaker)]
    changes.sort(key=lambda change: change[0])
    inside = in_collar = 0
    speaking: tuple[dict[str, int], dict[str, int]] = ({}, {})
    pieces: list[Piece] = []
    before = changes[0][0] if changes else 0.0
    for time, kind, name, step in changes:
        if time > before and inside and not in_collar and any(speaking):
            ours, theirs = (frozenset(side) for side in speaking)
            if not (skip_overlap and len(ours) > 1):
                pieces.append((time - before, ours, theirs))
        before = time
        if kind == 0:
            inside += step
        elif kind == 1:
            in_collar += step
        else:
            side = speaking[kind - 2]
            side[name] = side.get(name, 0) + step
            if not side[name]:
                del side[name]
    return pieces


def _changes(span: Span, kind: int, name: str) -> list[tuple[float, int, str, int]]:
    return [(span[0], kind, name, 1), (span[1], kind, name, -1)] if span[1] > span[0] else []


def _extent(turns: Iterable[Turn]) -> list[Span]:
    edges = [edge for turn in turns for edge in turn[:2]]
    return [(min(edges), max(edges))] if edges else []


def _jaccard(pieces: Sequence[Piece]) -> float:
    ours_seconds: dict[str, float] = {}
    theirs_seconds: dict[str, float] = {}
    shared: dict[tuple[str, str], float] = {}
    for length, ours, theirs in pieces:
        for one in ours:
            ours_seconds[one] = ours_seconds.get(one, 0.0) + length
        for other in theirs:
            theirs_seconds[other] = theirs_seconds.get(other, 0.0) + length
        for pair in ((one, other) for one in ours for other in theirs):
            shared[pair] = shared.get(pair, 0.0) + length
    if not ours_seconds:
        return float(bool(theirs_seconds))
    index = {
        (one, other): both / (ours_seconds[one] + theirs_seconds[other] - both)
        for (one, other), both in shared.items()
    }
    matched = best_pairs(index)
    errors = [1 - index[one, matched[one]] if one in matched else 1.0 for one in ours_seconds]
    return sum(errors) / len(errors)
