"""Proposals for a batch of lines judged: by form, by what a correction may do, and against the lines around them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from subtitles.revision.edits import edits_between, judge_edits, tokens
from subtitles.revision.line import MAX_CHARACTERS, Line
from subtitles.revision.scripts import main_script
from subtitles.revision.verdict import Refusal, Verdict

_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffd]"
)
_FOREIGN = re.compile(r"-->|</?[A-Za-z][^<>]{0,200}>|\{\\|\\[Nnh](?![a-z])")
"""What means something to a file of subtitles: time lines, tags, overrides."""
_NEIGHBOURS = 3
_MEETING_WORDS = 8


def tidy(text: str) -> str:
    """Return a proposal without the spaces that mean nothing."""
    return "\n".join(line for line in (" ".join(part.split()) for part in text.split("\n")) if line)


def judge_form(line: Line, text: str) -> Refusal | None:
    """Judge what holds for any proposal, whatever it is to do: text, of about a line's length, that no file takes for anything
    else.
    """
    if not any(character.isalnum() for character in text):
        return Refusal.EMPTY
    if len(text) > 2 * MAX_CHARACTERS:
        return Refusal.LENGTH
    if _CONTROL.search(text) or (_FOREIGN.search(text) and not _FOREIGN.search(line.text)):
        return Refusal.MARKUP
    if text.count("\n") != line.text.count("\n"):
        return Refusal.SPEAKERS_DIFFER
    return None


def judge_correction(line: Line, text: str, around: Sequence[Line]) -> Refusal | None:
    """Judge a text that is to be the corrected text of a line; `around` are the lines close by."""
    if (refusal := judge_form(line, text)) is not None:
        return refusal
    if len(text) > 2 * len(line.text) + 20:
        return Refusal.EDITS_TOO_MUCH
    if copies(line, text, around):
        return Refusal.COPIES_NEIGHBOUR
    if main_script(text) != main_script(line.text):
        return Refusal.LANGUAGE
    if (refusal := judge_edits(line.text, text)) is not None:
        return refusal
    return Refusal.COPIES_NEIGHBOUR if _takes_over(line, text, around) else None


def copies(line: Line, text: str, around: Sequence[Line]) -> bool:
    """Whether a text is what a line close by says, rather than what its own line says."""
    own = _likeness(line.text, text)
    return own < 0.95 and any(
        _likeness(other.text, text) > max(own, 0.6) for other in around if other.text != line.text
    )


def _takes_over(line: Line, text: str, around: Sequence[Line]) -> bool:
    """Whether words were added that a line close by has: two lines were merged, or a word was moved.

    Two words are told anywhere; a single one where lines meet: at the end, when the line behind begins with it, or the other way.
    """
    old, new = tokens(line.text), tokens(text)
    added = [edit.new for edit in edits_between(old, new) if len(edit.new) > len(edit.old)]
    for other in around:
        words = tokens(other.text)
        if any(len(run) >= 2 and _has_run(words, run) for run in added):
            return True
        behind = other.id > line.id
        for length in range(1, min(_MEETING_WORDS, len(words), len(new)) + 1):
            met = words[:length] if behind else words[-length:]
            own, before = (new[-length:], old[-length:]) if behind else (new[:length], old[:length])
            if added and own == met and before != met:
                return True
    return False


def _has_run(words: Sequence[str], run: Sequence[str]) -> bool:
    return any(
        tuple(words[place : place + len(run)]) == tuple(run) for place in range(len(words) - len(run) + 1)
    )


def _likeness(one: str, other: str) -> float:
    return Levenshtein.normalized_similarity(" ".join(tokens(one)), " ".join(tokens(other)))


def around(lines: Sequence[Line], place: int) -> list[Line]:
    """Return the lines close to the one at a place."""
    return [*lines[max(0, place - _NEIGHBOURS) : place], *lines[place + 1 : place + 1 + _NEIGHBOURS]]


def is_echo(line: Line, echo: str) -> bool:
    """Whether an answer repeats a line's own text, but for what models do to spaces and quotes."""
    if len(echo) > 2 * len(line.text) + 50:
        return False
    return tokens(line.text) == tokens(echo) and bool(tokens(echo))


def judge_corrections(lines: Sequence[Line], proposals: Mapping[int, str]) -> dict[int, Verdict]:
    """Judge the proposals for all lines of a batch, by id. Shifted ones fall where each is compared with its neighbours."""
    verdicts: dict[int, Verdict] = {}
    for place, line in enumerate(lines):
        text = tidy(proposals[line.id][: 3 * MAX_CHARACTERS])
        refusal = None if text == line.text else judge_correction(line, text, around(lines, place))
        verdicts[line.id] = Verdict(text, refusal)
    return verdicts
