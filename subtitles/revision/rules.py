"""Lines revised without any model: what rules and the user's own terms can tell. What comes out passes the same judge as a
model's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from rapidfuzz.distance import Levenshtein

from subtitles.measure import is_cjk
from subtitles.revision.edits import FILLERS, key, tokens
from subtitles.revision.judging import around, judge_correction, tidy
from subtitles.revision.line import Line

_TERM_LIKENESS = 0.8
_SHORTEST_TERM = 5
_STUTTERED = frozenset(
    [
        "the",
        "a",
        "an",
        "and",
        "of",
        "to",
        "in",
        "on",
        "at",
        "is",
        "it",
        "i",
        "we",
        "you",
        "he",
        "she",
        "they",
        "my",
        "your",
        "our",
        "this",
        "but",
        "or",
        "for",
        "with",
        "was",
        "der",
        "die",
        "das",
        "und",
        "ich",
        "zu",
        "in",
        "ist",
        "es",
        "wir",
        "le",
        "la",
        "les",
        "et",
        "je",
        "tu",
        "il",
        "un",
        "une",
        "el",
        "los",
        "y",
        "yo",
        "que",
    ]
)
"""Small words that nobody says twice on purpose; `that that`, `had had` and `very very` are sound."""
_FILLER = re.compile(
    rf"(?<![\w'’-])(?:{'|'.join(sorted(map(re.escape, FILLERS), key=len, reverse=True))})(?![\w'’-])[,，、]?\s*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def revise_by_rule(
    lines: Sequence[Line], *, terms: Sequence[str] = (), fillers: bool = False
) -> dict[int, str]:
    """Return the texts of those lines that rules change, by id.

    `terms` are names and words as they are to be written: what sounds or looks nearly like one becomes it. `fillers`: sounds of
    somebody who thinks are taken out.
    """
    steps: list[Callable[[str], str]] = [_without_stutter]
    if fillers:
        steps.append(_without_fillers)
    if terms:
        steps.append(lambda text: _with_terms(text, tuple(terms)))
    found: dict[int, str] = {}
    for place, line in enumerate(lines):
        if not line.askable:
            continue
        text = line.text
        for step in steps:
            text = tidy(step(text))
        if text != line.text and judge_correction(line, text, around(lines, place)) is None:
            found[line.id] = text
    return found


def _without_stutter(text: str) -> str:
    """Leave out the second of two small words in a row."""
    return re.sub(
        r"\b(\w+)(,? )(?=\1\b)",
        lambda match: "" if match[1].casefold() in _STUTTERED else match[0],
        text,
        flags=re.IGNORECASE,
    )


def _without_fillers(text: str) -> str:
    """Leave out fillers, with the commas that set them off, unless nothing else is said."""
    shorter, count = _FILLER.subn("", text)
    if not count or not tokens(shorter) or is_cjk(text):
        return text
    shorter = re.sub(r",\s*(?=[.!?])", "", shorter).lstrip(" ,").rstrip()
    if not text.rstrip().endswith(","):
        shorter = shorter.rstrip(" ,")
    return shorter[:1].upper() + shorter[1:] if text[:1].isupper() else shorter


def _with_terms(text: str, terms: tuple[str, ...]) -> str:
    for term in terms:
        if len(key(term)) >= _SHORTEST_TERM and not is_cjk(term):
            text = _with_term(text, term)
    return text


def _with_term(text: str, term: str) -> str:
    """Write the words that are nearly a term as the term: as many words as it has, one more, or one fewer."""
    words = list(_WORD.finditer(text))
    target, count = key(term), len(term.split())
    best: tuple[float, int, int] | None = None
    for length in {max(1, count - 1), count, count + 1}:
        for first in range(len(words) - length + 1):
            start, end = words[first].start(), words[first + length - 1].end()
            share = _likeness(key(text[start:end]), target)
            if share >= _TERM_LIKENESS and (best is None or share > best[0]):
                best = share, start, end
    if best is None or text[best[1] : best[2]] == term:
        return text
    return text[: best[1]] + term + text[best[2] :]


@lru_cache(maxsize=65_536)
def _likeness(one: str, other: str) -> float:
    """Return how alike two words are, 0 to 1; words that begin with another letter have a tenth less."""
    if abs(len(one) - len(other)) > 0.35 * len(other):
        return 0.0
    share = Levenshtein.normalized_similarity(one, other)
    return share if one[:1] == other[:1] else share - 0.1


def apply(lines: Sequence[Line], texts: Mapping[int, str]) -> list[Line]:
    """Return the lines with other texts."""
    return [Line(line.id, texts.get(line.id, line.text), line.budget, line.joins_next) for line in lines]
