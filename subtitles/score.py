"""How far one subtitle file is from another: words, times, cues that are missing or made up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rapidfuzz.distance import Levenshtein

from subtitles.cue import Cue
from subtitles.line_breaking import split_pieces

_MIN_OVERLAP = 0.3
"""Share of the shorter cue's time that two cues must have in common to be one and the same."""
_MIN_LIKENESS = 0.35
_BAND = 40
"""Cues that one may be away from its partner's place, beyond what time allows."""


@dataclass(frozen=True)
class TextScore:
    """Edits that make one text of another, and the length that they count against."""

    edits: int
    length: int

    @property
    def rate(self) -> float:
        """Edits for each unit of the reference; with an empty reference 0 or 1."""
        return self.edits / self.length if self.length else float(self.edits > 0)


@dataclass(frozen=True)
class Score:
    """A hypothesis held against its reference."""

    cer: float
    """Edits of characters, without spaces, punctuation and case, for each character of the reference."""
    wer: float
    """The same by words; for Chinese, Japanese and Korean by characters."""
    exact: int
    """Pairs whose normalised text is the same."""
    matched: int
    missed: tuple[int, ...]
    """Reference cues without a partner, from 0."""
    phantom: tuple[int, ...]
    """Hypothesis cues without a partner, from 0."""
    start_errors: tuple[float, ...]
    """Seconds that each matched cue begins late (below zero: early)."""
    end_errors: tuple[float, ...]


@dataclass(frozen=True)
class _Chain:
    """Pairs without crossings so far: where their last partner is, what they share in all, and the pairs as a linked list."""

    last: int
    total: float
    pair: tuple[int, int] | None = None
    before: _Chain | None = None


def normalise(text: str) -> str:
    """Return what counts of a text: letters and digits of one width and case, single spaces between words."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    kept = "".join(
        character
        if character.isalnum() or unicodedata.category(character)[0] == "M" or character == "'"
        else " "
        for character in folded
    )
    return re.sub(r"\s+", " ", re.sub(r"(?<!\w)'|'(?!\w)", " ", kept)).strip()


def character_score(reference: str, hypothesis: str) -> TextScore:
    """Count edits of characters; spaces do not count."""
    wanted, given = normalise(reference).replace(" ", ""), normalise(hypothesis).replace(" ", "")
    return TextScore(Levenshtein.distance(wanted, given), len(wanted))


def word_score(reference: str, hypothesis: str) -> TextScore:
    """Count edits of words; a wide character is a word by itself."""
    wanted, given = _words(reference), _words(hypothesis)
    return TextScore(Levenshtein.distance(wanted, given), len(wanted))


def _words(text: str) -> list[str]:
    return [piece.strip() for piece, _ in split_pieces(normalise(text)) if piece.strip()]


def compare(reference: Sequence[Cue], hypothesis: Sequence[Cue]) -> Score:
    """Match cues in order of time and score what they say and when.

    Partners share time and are alike in text; the order is kept (no pair crosses another), and among all such matchings the one
    that shares most is taken.
    """
    wanted, given = _in_order(reference), _in_order(hypothesis)
    pairs = _match(wanted, given)
    whole_wanted, whole_given = (" ".join(cue.plain for _, cue in side) for side in (wanted, given))
    partnered = {place for place, _ in pairs}, {place for _, place in pairs}
    return Score(
        cer=character_score(whole_wanted, whole_given).rate,
        wer=word_score(whole_wanted, whole_given).rate,
        exact=sum(normalise(wanted[i][1].plain) == normalise(given[j][1].plain) for i, j in pairs),
        matched=len(pairs),
        missed=tuple(place for i, (place, _) in enumerate(wanted) if i not in partnered[0]),
        phantom=tuple(place for j, (place, _) in enumerate(given) if j not in partnered[1]),
        start_errors=tuple(round(given[j][1].start - wanted[i][1].start, 6) for i, j in pairs),
        end_errors=tuple(round(given[j][1].end - wanted[i][1].end, 6) for i, j in pairs),
    )


def _in_order(cues: Sequence[Cue]) -> list[tuple[int, Cue]]:
    shown = ((place, cue) for place, cue in enumerate(cues) if cue.plain)
    return sorted(shown, key=lambda row: (row[1].start, row[1].end))


def _match(wanted: Sequence[tuple[int, Cue]], given: Sequence[tuple[int, Cue]]) -> list[tuple[int, int]]:
    """Return the pairs of a best matching without crossings: a longest common subsequence with weights."""
    worth: list[dict[int, float]] = []
    first = 0
    for _, cue in wanted:
        while first < len(given) and given[first][1].end < cue.start - 60:
            first += 1
        row: dict[int, float] = {}
        for place in range(first, len(given)):
            other = given[place][1]
            if other.start > cue.end:
                break
            if weight := _worth(cue, other):
                row[place] = weight
        worth.append(row)
    return _best_chain(worth)


def _worth(cue: Cue, other: Cue) -> float:
    shared = min(cue.end, other.end) - max(cue.start, other.start)
    shorter = min(cue.duration, other.duration)
    if shared <= 0 or shared < _MIN_OVERLAP * shorter:
        return 0.0
    alike = Levenshtein.normalized_similarity(normalise(cue.plain), normalise(other.plain))
    return alike if alike >= _MIN_LIKENESS else 0.0


def _best_chain(worth: Sequence[dict[int, float]]) -> list[tuple[int, int]]:
    """Return the heaviest set of pairs that grow on both sides."""
    chains = [_Chain(-1, 0.0)]
    for first, row in enumerate(worth):
        grown = []
        for second, weight in row.items():
            before = max((chain for chain in chains if chain.last < second), key=lambda chain: chain.total)
            grown.append(_Chain(second, before.total + weight, (first, second), before))
        chains = _upper_edge([*chains, *grown])
    link: _Chain | None = max(chains, key=lambda chain: chain.total)
    pairs = []
    while link is not None and link.pair is not None:
        pairs.append(link.pair)
        link = link.before
    return pairs[::-1]


def _upper_edge(chains: list[_Chain]) -> list[_Chain]:
    """Keep the chains that no chain with an earlier end is worth as much as, and of those the last ones."""
    kept: list[_Chain] = []
    for chain in sorted(chains, key=lambda one: (one.last, -one.total)):
        if not kept or chain.total > kept[-1].total:
            kept.append(chain)
    return kept[-_BAND:]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that a share of the absolute values do not pass; None for no values."""
    if not values:
        return None
    ordered = sorted(abs(value) for value in values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def middle(values: Sequence[float]) -> float | None:
    """Return the median of the absolute values; None for no values."""
    return median(abs(value) for value in values) if values else None
