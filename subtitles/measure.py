"""How long a text is to a reader, and what a subtitle may ask of one.

A reader takes Chinese, Japanese and Korean in by the character and other scripts by the letter, which is why the limits differ.
The figures are those of broadcasters' and streaming services' style guides: 42 letters or 16 characters a line, two lines, 17 to 20
letters or 9 to 11 characters a second, five sixths of a second to seven seconds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from subtitles.cue import strip_markup


@dataclass(frozen=True)
class Limits:
    """What a cue may be. Lengths are in columns: see `columns`."""

    line_columns: float = 42
    lines: int = 2
    columns_per_second: float = 20
    min_seconds: float = 0.83
    max_seconds: float = 7.0
    min_gap_seconds: float = 0.083
    """Two frames at 24 frames a second: without it one cue seems to change into the next."""
    pause_seconds: float = 0.7
    """No cue goes on over a silence as long as this."""

    def overridden(self, values: Mapping[str, float]) -> Limits:
        """Return limits of which some fields, named by key, are others."""
        limits = replace(self, **{name: value for name, value in values.items() if name != "lines"})  # type: ignore[arg-type]
        return replace(limits, lines=int(values.get("lines", limits.lines)))

    @property
    def capacity(self) -> float:
        """Columns that a cue holds."""
        return self.line_columns * self.lines


LATIN = Limits()
CJK = Limits(line_columns=16, columns_per_second=11)


@lru_cache(maxsize=8192)
def is_wide(character: str) -> bool:
    """Whether a character is read by itself, as Han, kana and Hangul are."""
    return unicodedata.east_asian_width(character) in "WF" and not 0x1F000 <= ord(character) < 0x20000


def is_cjk(text: str) -> bool:
    """Whether a text is mostly of wide characters: a third of its letters, since each of them says more than a letter."""
    if text.isascii():
        return False
    letters = [character for character in text if character.isalnum()]
    return bool(letters) and sum(map(is_wide, letters)) * 3 >= len(letters)


def limits_for(texts: Iterable[str]) -> Limits:
    """Return the limits for the script that the texts are mostly in."""
    return CJK if is_cjk("".join(texts)) else LATIN


@lru_cache(maxsize=32_768)
def columns(text: str, *, cjk: bool) -> float:
    """Return how long one line is: its characters, or for CJK its wide characters and half of the others.

    Markup and combining marks count nothing.
    """
    text = strip_markup(text)
    if text.isascii():
        length = len(text) - text.count("\n")
        return length / 2 if cjk else float(length)
    total = 0.0
    for character in text:
        if character == "\n" or unicodedata.combining(character):
            continue
        total += 0.5 if cjk and not is_wide(character) else 1.0
    return total


def reading_speed(text: str, seconds: float, *, cjk: bool) -> float:
    """Return columns a second; infinite for a text that is shown for no time."""
    length = columns(text, cjk=cjk)
    if seconds <= 0:
        return float("inf") if length else 0.0
    return length / seconds
