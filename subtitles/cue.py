"""Cue and Word: one subtitle entry, and one spoken word with its time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Self

_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,200}>|\{\\[^{}]{0,200}\}")


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word (in Chinese or Japanese: one token of the recogniser), in seconds on the film's clock."""

    start: float
    end: float
    text: str
    """As the recogniser wrote it; a leading space belongs to it where the script has spaces."""
    probability: float | None = None
    speaker: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the word as YiVideo's JSON files have it."""
        body: dict[str, Any] = {"word": self.text, "start": self.start, "end": self.end}
        if self.probability is not None:
            body["confidence"] = self.probability
        if self.speaker is not None:
            body["speaker"] = self.speaker
        return body


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle entry, in seconds on the film's clock.

    `text` has lines separated by newlines and may hold `<i>`, `<b>`, `<u>` as SRT does.
    """

    start: float
    end: float
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    translation: str | None = None
    """The same in another language, shown beside it in bilingual files."""

    @property
    def duration(self) -> float:
        """Seconds that it is shown; not above zero in damaged files."""
        return self.end - self.start

    @property
    def plain(self) -> str:
        """The text without markup."""
        return plain(self.text)

    def at(self, start: float, end: float) -> Self:
        """Return it at other times; its words stay where they are."""
        return replace(self, start=start, end=end)

    def saying(self, text: str) -> Self:
        """Return it with another text."""
        return replace(self, text=text)


def plain(text: str) -> str:
    """Return a text without `<i>`-like tags and `{\\…}` overrides; line breaks stay."""
    return strip_markup(text).strip()


def strip_markup(text: str) -> str:
    """Return a text without its tags, with all of its spaces."""
    return _MARKUP.sub("", text) if "<" in text or "{" in text else text
