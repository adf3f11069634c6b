"""Translations of a batch of lines judged. Whether a translation is good nobody can tell by rule; whether it is one, for this
line and
in that language, and can be read in the time, rules can tell well enough to throw out what models do to subtitles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from subtitles.measure import columns, is_cjk
from subtitles.revision.edits import tokens
from subtitles.revision.judging import judge_form, tidy
from subtitles.revision.line import MAX_CHARACTERS, Line
from subtitles.revision.scripts import (
    base_of,
    closest_language,
    fits_language,
    frequent_words,
    knows,
    scripts_of_language,
)
from subtitles.revision.verdict import Refusal, Verdict

_NUMBER = re.compile(r"\d+")
_LONGEST_RATIO, _LONGEST_MORE = 3.5, 24
_SHORT_RATIO = 3.0
_SHIFT_LINES = 6
"""Fewer lines are too few to tell that all of them stand one place off."""


@dataclass(frozen=True)
class Translation:
    """What translations have to be."""

    target: str
    """Language code."""
    source: str = ""
    """Language code; empty: whatever it is."""
    glossary: Mapping[str, str] = field(default_factory=dict)
    """Terms and what they are called in the target language."""


def judge_translations(
    lines: Sequence[Line], proposals: Mapping[int, str], wanted: Translation
) -> dict[int, Verdict]:
    """Judge the translations of all lines of a batch, by id."""
    texts = {line.id: tidy(proposals[line.id][: 3 * MAX_CHARACTERS]) for line in lines}
    verdicts = {line.id: Verdict(texts[line.id], _judge(line, texts[line.id], wanted)) for line in lines}
    for line in _copies(lines, texts):
        verdicts[line.id] = Verdict(texts[line.id], Refusal.COPIES_NEIGHBOUR)
    if is_shifted([line.text for line in lines], [texts[line.id] for line in lines]):
        return {line.id: Verdict(texts[line.id], Refusal.SHIFTED) for line in lines}
    return verdicts


def _copies(lines: Sequence[Line], texts: Mapping[int, str]) -> Iterator[Line]:
    """Give the lines that are translated as another line is that says something else, but for short answers to short lines."""
    by_text: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        words = tuple(tokens(texts[line.id]))
        by_text.setdefault(words, []).append(line)
    for words, same in by_text.items():
        if all(_alike(same[0].text, other.text) for other in same[1:]):
            continue
        # Many lines are a yes or a no; one that says much more than that is not.
        length = len("".join(words))
        yield from (line for line in same if length >= 8 or _weight(line.text) > _SHORT_RATIO * length)


def _alike(one: str, other: str) -> bool:
    mine, others = set(tokens(one)), set(tokens(other))
    return len(mine & others) * 2 > len(mine | others)


def _judge(line: Line, text: str, wanted: Translation) -> Refusal | None:
    if (refusal := judge_form(line, text)) is not None:
        return refusal
    if (refusal := _judge_language(line, text, wanted)) is not None:
        return refusal
    source, made = _weight(line.text), _weight(text)
    if made > _LONGEST_RATIO * source + _LONGEST_MORE or (source > 20 and made * 6 < source):
        return Refusal.LENGTH
    if any(
        _has_term(line.text, term) and right.casefold() not in text.casefold()
        for term, right in wanted.glossary.items()
    ):
        return Refusal.GLOSSARY
    if line.budget and columns(text, cjk=is_cjk(text)) > line.budget:
        return Refusal.OVER_BUDGET
    return None


def _judge_language(line: Line, text: str, wanted: Translation) -> Refusal | None:
    if not fits_language(text, wanted.target):
        # Names and formulas may stay as they are.
        return None if len(tokens(line.text)) <= 2 and tokens(text) == tokens(line.text) else Refusal.LANGUAGE
    words = tokens(line.text)
    same_script = fits_language(line.text, wanted.target)
    if same_script and tokens(text) == words and len(words) >= 4:
        source = wanted.source or closest_language(line.text)
        if base_of(source) != base_of(wanted.target):
            return Refusal.UNTRANSLATED
    if scripts_of_language(wanted.target) == {"latin"} and knows(wanted.target):
        other = closest_language(text)
        if other and other != base_of(wanted.target):
            strong = frequent_words(text, other) >= frequent_words(text, wanted.target) + 2
            return Refusal.LANGUAGE if strong else None
    return None


def _weight(text: str) -> float:
    """Return a length that is about the same in all languages: a wide character counts as two letters and a half."""
    wide = is_cjk(text)
    return columns(text, cjk=wide) * (2.5 if wide else 1.0)


def _has_term(text: str, term: str) -> bool:
    if is_cjk(term):
        return term in text
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text, re.IGNORECASE) is not None


def is_shifted(sources: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether the texts fit the sources clearly better when all are moved by one place, up or down.

    What a line and its translation share in any two languages is how long they are, the numbers and names in them, and how
    they end.
    """
    count = len(sources)
    if count < _SHIFT_LINES:
        return False
    here = _fit(sources, texts)
    for offset in (1, -1):
        moved = _fit(
            sources[offset:] if offset > 0 else sources[:offset],
            texts[:-offset] if offset > 0 else texts[-offset:],
        )
        if moved > here + 0.35 and moved > 0.55:
            return True
    return False


def _fit(sources: Sequence[str], texts: Sequence[str]) -> float:
    """Return how well lines fit, −1 to 1: the correlation of their lengths, with the share of marks that agree where there are
    any.
    """
    lengths = _correlation(
        [math.log1p(_weight(text)) for text in sources], [math.log1p(_weight(text)) for text in texts]
    )
    agreed = total = 0
    for source, text in zip(sources, texts, strict=True):
        for marks in (_numbers, _ending):
            one, other = marks(source), marks(text)
            if one or other:
                total += 1
                agreed += one == other
        # Some languages write every noun with a capital: only the source's own names count.
        if names := _names(source):
            total += 1
            agreed += any(name in text for name in names)
    if total < 3:
        return lengths
    return 0.5 * lengths + 0.5 * (2 * agreed / total - 1)


def _numbers(text: str) -> frozenset[str]:
    return frozenset(_NUMBER.findall(text))


def _names(text: str) -> frozenset[str]:
    """Return words with a capital that do not begin the line."""
    return frozenset(
        word.strip(".,!?…\"'") for word in text.split()[1:] if word[:1].isupper() and len(word) > 2
    )


def _ending(text: str) -> frozenset[str]:
    end = text.rstrip("\"'”’」』)")[-1:]
    return frozenset({"?"} if end in "?？" else {"!"} if end in "!！" else ())


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Pearson's correlation; 0 where one of both does not vary."""
    count = len(one)
    mean, other_mean = sum(one) / count, sum(other) / count
    shared = sum((a - mean) * (b - other_mean) for a, b in zip(one, other, strict=True))
    spread = math.sqrt(sum((a - mean) ** 2 for a in one) * sum((b - other_mean) ** 2 for b in other))
    return shared / spread if spread > 1e-9 else 0.0
