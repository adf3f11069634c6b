"""Line: what a model is shown of a cue, and how a text comes back into the cue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rapidfuzz.distance import Levenshtein

from subtitles.cue import Cue, plain
from subtitles.line_breaking import break_lines
from subtitles.measure import Limits

MAX_CHARACTERS = 1000
"""A longer text is none of a subtitle's, and is not shown to a model."""
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_DASH = re.compile(r"^\s*[-–—]")
_JOIN_GAP_SECONDS = 0.7


@dataclass(frozen=True, slots=True)
class Line:
    """One cue's text with its id. It has line breaks only where another person speaks."""

    id: int
    text: str
    budget: float = 0.0
    """Columns that a translation may have; 0: any number."""
    joins_next: bool = False
    """Whether the next line goes on without a pause and by the same speaker, so that a word may move across."""

    @property
    def askable(self) -> bool:
        """Whether it is of use to show it: it has a letter, and is no longer than a subtitle."""
        return len(self.text) <= MAX_CHARACTERS and any(character.isalpha() for character in self.text)


def to_lines(cues: Sequence[Cue], budgets: Sequence[float] = ()) -> list[Line]:
    """Return the lines of cues, with ids from 1 in their order."""
    joins = [
        first.speaker == second.speaker and 0 <= second.start - first.end < _JOIN_GAP_SECONDS
        for first, second in pairwise(cues)
    ]
    return [
        Line(
            number + 1,
            flat(cue.text),
            budgets[number] if budgets else 0.0,
            joins[number] if number < len(joins) else False,
        )
        for number, cue in enumerate(cues)
    ]


def flat(text: str) -> str:
    """Return a text without markup, in one line for each person who speaks in it."""
    lines = [" ".join(line.split()) for line in plain(text).split("\n")]
    lines = [line for line in lines if line]
    if sum(bool(_DASH.match(line)) for line in lines) < 2:
        return " ".join(lines)
    joined: list[str] = []
    for line in lines:
        if joined and not _DASH.match(line):
            joined[-1] += f" {line}"
        else:
            joined.append(line)
    return "\n".join(joined)


def put_back(cue: Cue, text: str, limits: Limits, *, cjk: bool) -> Cue:
    """Return the cue with another flat text: its markup carried over, its lines broken. The same text gives the same cue."""
    if text == flat(cue.text):
        return cue
    marked = text if "\n" in text else carry_markup(cue.text, text)
    broken = "\n".join(break_lines(part, limits, cjk=cjk) for part in marked.split("\n"))
    return replace(cue, text=broken, words=())


def carry_markup(marked: str, text: str) -> str:
    """Return a text with the markup of another version of it: each tag beside the word that it stood beside, as far as it
    stayed.
    """
    if not _TAG.search(marked):
        return text
    tokens = [token for token in _TAG.sub(lambda tag: f"\x00{tag[0]}\x00", marked).split("\x00") if token]
    old: list[str] = []
    tags: list[tuple[int, str]] = []
    for token in tokens:
        if _TAG.fullmatch(token):
            tags.append((len(old), token))
        else:
            old += token.split()
    new = text.split()
    places = _places(old, new)
    parts: list[str] = []
    for place, word in enumerate([*new, ""]):
        opening = "".join(tag for at, tag in tags if places[at] == place and not tag.startswith("</"))
        closing = "".join(tag for at, tag in tags if places[at] == place and tag.startswith("</"))
        if closing and parts:
            parts[-1] += closing
        elif closing:
            opening = closing + opening
        if word:
            parts.append(opening + word)
        elif opening:
            parts = [*parts[:-1], parts[-1] + opening] if parts else [opening]
    return " ".join(parts)


def _places(old: Sequence[str], new: Sequence[str]) -> list[int]:
    """Return, for each place between old words, the place between new ones."""
    places = [0] * (len(old) + 1)
    for step in Levenshtein.opcodes([word.casefold() for word in old], [word.casefold() for word in new]):
        for offset in range(step.src_end - step.src_start):
            places[step.src_start + offset] = min(step.dest_start + offset, step.dest_end)
    places[len(old)] = len(new)
    return places
