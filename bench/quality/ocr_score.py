"""What was read against what was burned: exact lines, character errors, missed, phantom, split and merged cues, edges."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rapidfuzz.distance import Levenshtein

from bench.quality.ocr_films import Truth


class Shown(Protocol):
    """A cue: a text from when to when."""

    @property
    def start(self) -> float:
        """Seconds."""

    @property
    def end(self) -> float:
        """Seconds."""

    @property
    def text(self) -> str:
        """Its lines."""


@dataclass
class Score:
    """Counts; `+` adds two films."""

    events: int = 0
    exact: int = 0
    letters: int = 0
    wrong_letters: int = 0
    missed: int = 0
    phantom: int = 0
    split_or_merged: int = 0
    edges: list[float] = field(default_factory=list)
    """Differences in frames, two a cue."""

    def __add__(self, other: Score) -> Score:
        return Score(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        )

    def edge(self, share: float) -> float:
        """Return the edge error that `share` of the edges do not pass."""
        ordered = sorted(self.edges)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def score(truth: Sequence[Truth], cues: Sequence[Shown], frame_seconds: float) -> Score:
    """Give each truth the cues that overlap it most; compare texts without white space and edges in frames."""
    result = Score(events=len(truth))
    owners: dict[int, list[Shown]] = {number: [] for number in range(len(truth))}
    for cue in cues:
        shared = [min(cue.end, one.end) - max(cue.start, one.start) for one in truth]
        best = max(range(len(truth)), key=lambda number: shared[number], default=-1)
        if best < 0 or shared[best] <= 0:
            result.phantom += 1
            continue
        owners[best].append(cue)
        # A cue that lies over most of a second truth has swallowed it.
        result.split_or_merged += sum(
            shared[number] > 0.5 * (one.end - one.start) and number != best and _like(one.text, cue.text)
            for number, one in enumerate(truth)
        )
    for number, one in enumerate(truth):
        _judge(result, one, owners[number], frame_seconds)
    return result


def _like(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() > 0.5


def _judge(result: Score, truth: Truth, mine: Sequence[Shown], frame_seconds: float) -> None:
    said = "".join(truth.text.split())
    result.letters += len(said)
    if not mine:
        result.missed += 1
        result.wrong_letters += len(said)
        return
    best = min(mine, key=lambda cue: Levenshtein.distance("".join(cue.text.split()), said))
    wrong = Levenshtein.distance("".join(best.text.split()), said)
    result.exact += wrong == 0
    result.wrong_letters += min(wrong, len(said))
    result.split_or_merged += sum(_like(cue.text, truth.text) for cue in mine) - 1 if len(mine) > 1 else 0
    result.phantom += sum(not _like(cue.text, truth.text) for cue in mine if cue is not best)
    result.edges += [abs(best.start - truth.start) / frame_seconds, abs(best.end - truth.end) / frame_seconds]
