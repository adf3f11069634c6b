"""English words that a scanner broke: letters that look like others, spaces that were lost or put in.

Only what is no word is mended, only by confusions that scanners make, and only into a frequent word with no rival: a name or a rare
word that looks like nothing else stays. The words and how often they are written come with symspellpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources

_WORD = re.compile(r"(?<![\w'’])[A-Za-z0-9|]+(?:['’][A-Za-z]+)*(?!\w)")
_CONFUSED: tuple[tuple[str, str], ...] = (
    ("rn", "m"), ("m", "rn"), ("vv", "w"), ("cl", "d"), ("d", "cl"), ("li", "h"), ("h", "li"), ("ii", "n"), ("ri", "n"),
    ("nn", "rm"), ("0", "o"), ("1", "l"), ("1", "i"), ("5", "s"), ("8", "b"), ("6", "b"), ("|", "l"), ("|", "i"), ("l", "i"),
    ("i", "l"), ("l", "t"), ("t", "l"), ("c", "e"), ("e", "c"), ("f", "t"), ("b", "h"), ("h", "b"), ("u", "ii"), ("n", "ri"),
)  # fmt: skip
_FREQUENT = 2_000_000
"""A word that is written so often, of a million million, is one that a broken word may have been."""
_RIVAL = 12.0
"""So much more often than any other candidate."""
_FREQUENT_PAIR = 300_000
_LONGEST = 24


@lru_cache(maxsize=1)
def _words() -> dict[str, int]:
    """Return English words and how often they are written."""
    return {word: int(count) for word, count in _rows("frequency_dictionary_en_82_765.txt", 2)}


@lru_cache(maxsize=1)
def _pairs() -> dict[str, int]:
    """Return frequent pairs of words, joined, and how often they are written."""
    rows = _rows("frequency_bigramdictionary_en_243_342.txt", 3)
    return {f"{one} {other}": int(count) for one, other, count in rows if int(count) >= _FREQUENT_PAIR}


def _rows(name: str, fields: int) -> Iterator[list[str]]:
    with resources.files("symspellpy").joinpath(name).open(encoding="utf-8-sig") as file:
        for line in file:
            row = line.split()
            if len(row) == fields:
                yield row


def mend_words(text: str) -> str:
    """Return an English text with its broken words mended."""
    mended = _WORD.sub(lambda match: _mended(match, text), text)
    return _joined(mended)


def _mended(match: re.Match[str], text: str) -> str:
    word = match[0]
    if len(word) < 3 or len(word) > _LONGEST or "'" in word or "’" in word or word.isdecimal():
        return word
    inside_capitals = re.sub(
        r"(?<=[a-z])I+(?=[a-z]|$)|(?<=^[A-Z])I+(?=[a-z])", lambda run: "l" * len(run[0]), word
    )
    if inside_capitals != word and _known(inside_capitals):
        return inside_capitals
    if _known(word) or not _may_be_broken(match, text):
        return word
    best = _only(_candidates(word.casefold()))
    if best is None:
        best = _parted(word.casefold())
    if best is None:
        return word
    return best[:1].upper() + best[1:] if word[:1].isupper() else best


def _known(word: str) -> bool:
    return word.casefold() in _words()


def _may_be_broken(match: re.Match[str], text: str) -> bool:
    """Whether an unknown word is more than a name, a number with its unit, or an abbreviation."""
    word = match[0]
    letters = sum(character.isalpha() for character in word)
    if letters < 2 or (any(character.isdecimal() for character in word) and letters < len(word) - 2):
        return False
    if word.isupper() or not (word[1:].islower() or any(not character.isalpha() for character in word[1:])):
        return False
    if not word[:1].isupper():
        return True
    before = text[: match.start()].rstrip(" \"'“‘(")
    return not before or before[-1] in ".!?…-–\n"


@lru_cache(maxsize=16_384)
def _candidates(word: str) -> tuple[tuple[int, str], ...]:
    """Return words that one or two confusions make of a broken one, each with how often it is written."""
    known = _words()
    once = set(_confused(word))
    found = {one for one in once if known.get(one, 0) >= _FREQUENT}
    if not found:
        found = {two for one in once for two in _confused(one) if known.get(two, 0) >= _FREQUENT}
    return tuple(sorted(((known[one], one) for one in found), reverse=True))


def _confused(word: str) -> Iterator[str]:
    for wrong, right in _CONFUSED:
        place = word.find(wrong)
        while place >= 0:
            yield word[:place] + right + word[place + len(wrong) :]
            place = word.find(wrong, place + 1)


def _only(candidates: tuple[tuple[int, str], ...]) -> str | None:
    """Return the one candidate that has no rival."""
    if not candidates or (len(candidates) > 1 and candidates[0][0] < _RIVAL * candidates[1][0]):
        return None
    return candidates[0][1]


def _parted(word: str) -> str | None:
    """Return a pair of words that people often write one after the other and that together are this one."""
    pairs = _pairs()
    parts = [f"{word[:place]} {word[place:]}" for place in range(1, len(word))]
    return _only(tuple(sorted(((pairs[part], part) for part in parts if part in pairs), reverse=True)))


def _joined(text: str) -> str:
    """Return a text in which two pieces that are no words stand together where that makes a frequent one."""

    def join(match: re.Match[str]) -> str:
        one, other = match[1], match[2]
        whole = one + other
        broken = not _known(one) or not _known(other)
        return one if broken and _words().get(whole.casefold(), 0) >= _FREQUENT else match[0]

    return re.sub(r"(?<![\w'’])([A-Za-z][a-z]+) (?=([a-z]{2,})(?![\w'’]))", join, text)
