"""What was done to a text, word by word, and what of that a correction may do.

A correction replaces words that were misheard or misspelt by words that they can have been meant for, adds what was swallowed, and
takes out what was said twice or is no word. So it keeps almost every word, and what it replaces looks alike: that can be checked
without knowing any language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from subtitles.line_breaking import split_pieces
from subtitles.measure import is_wide
from subtitles.revision.verdict import Refusal

FILLERS = frozenset(
    [
        "um",
        "umm",
        "uh",
        "uhh",
        "uhm",
        "er",
        "erm",
        "eh",
        "hm",
        "hmm",
        "mm",
        "mmm",
        "mhm",
        "ah",
        "äh",
        "ähm",
        "hm",
        "euh",
        "heu",
        "eh",
        "ehm",
        "este",
        "эм",
        "э-э",
        "ээ",
        "えー",
        "えーと",
        "えっと",
        "あの",
        "呃",
        "嗯",
        "唔",
        "额",
        "啊",
        "어",
        "음",
    ]
)
"""Sounds of somebody who thinks; a person who reads misses nothing when they are gone."""
_LIKENESS = 0.4
"""Least likeness of letters between words and what replaces them: `wreck a nice beach`, `recognise speech` have 0.47."""
_KEPT_LENGTH = 0.8
"""Fewer words in place of more must keep so much of their letters, or words were lost under the cover of a replacement."""
_MOST_CHANGED = 0.5
_MOST_WIDE_CHANGED = 0.4
_ALWAYS_WIDE = 2
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Edit:
    """Words of the old text and what stands in their place; one of both may be empty."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    before: tuple[str, ...]
    """Up to four words that stayed, in front of it."""
    after: tuple[str, ...]
    """Up to four words that stayed, behind it."""


def tokens(text: str) -> list[str]:
    """Return a text's words, and its wide characters one by one, as they count: letters and digits without case."""
    found = (key(piece) for piece, _ in split_pieces(text.replace("\n", " ")))
    return [token for token in found if token]


def key(piece: str) -> str:
    """Return what counts of a word."""
    return "".join(character for character in piece.casefold() if character.isalnum())


def edits_between(old: Sequence[str], new: Sequence[str]) -> list[Edit]:
    """Return the edits that make one list of tokens of another; those that touch are one."""
    found: list[Edit] = []
    span: tuple[int, int, int, int] | None = None
    for step in Levenshtein.opcodes(old, new):
        if step.tag == "equal":
            if span is not None:
                found.append(_edit(old, new, span))
            span = None
        elif span is None:
            span = step.src_start, step.src_end, step.dest_start, step.dest_end
        else:
            span = span[0], step.src_end, span[2], step.dest_end
    if span is not None:
        found.append(_edit(old, new, span))
    return found


def _edit(old: Sequence[str], new: Sequence[str], span: tuple[int, int, int, int]) -> Edit:
    first, last, new_first, new_last = span
    return Edit(
        tuple(old[first:last]),
        tuple(new[new_first:new_last]),
        tuple(old[max(0, first - 4) : first]),
        tuple(old[last : last + 4]),
    )


def judge_edits(old_text: str, new_text: str) -> Refusal | None:
    """Return why a text is no correction of another; None: it may be one."""
    if sorted(_NUMBER.findall(old_text)) != sorted(_NUMBER.findall(new_text)):
        return Refusal.NUMBER_CHANGED
    old, new = tokens(old_text), tokens(new_text)
    if not new:
        return Refusal.EMPTY
    edits = edits_between(old, new)
    for edit in edits:
        if (refusal := _judge_edit(edit)) is not None:
            return refusal
    if sum(len(edit.new) for edit in edits if not edit.old) > max(2, len(old) // 5):
        return Refusal.WORDS_INVENTED
    return _judge_amount(old, edits)


def _judge_edit(edit: Edit) -> Refusal | None:
    if not edit.new:
        return None if is_spare(edit) else Refusal.WORDS_LOST
    if not edit.old:
        return Refusal.WORDS_INVENTED if len(edit.new) > 3 else None
    was, now = "".join(edit.old), "".join(edit.new)
    if all(map(is_wide, was)):
        # A character that was misheard has nothing in common with the right one, but takes its place one for one.
        return None if len(was) - 1 <= len(now) <= len(was) + 2 and len(was) <= 4 else Refusal.UNLIKE
    if len(edit.new) < len(edit.old) and len(now) < _KEPT_LENGTH * len(was):
        return Refusal.WORDS_LOST
    if Levenshtein.normalized_similarity(was, now) < _LIKENESS:
        return Refusal.UNLIKE
    return None


def is_spare(edit: Edit) -> bool:
    """Whether what is deleted was fillers, or said again and again in a row: the same words stand beside it."""
    words = tuple(word for word in edit.old if word not in FILLERS)
    for size in range(1, min(4, len(words)) + 1):
        unit = words[:size]
        again = len(words) % size == 0 and unit * (len(words) // size) == words
        if again and unit in (edit.before[-size:], edit.after[:size]):
            return True
    return not words


def _judge_amount(old: Sequence[str], edits: Sequence[Edit]) -> Refusal | None:
    """Judge how much of the text is changed, by letters: two words of three may be wrong in a short line, but hardly ever all."""
    replaced = [(edit, "".join(edit.old)) for edit in edits if edit.old and edit.new]
    changed = sum(
        len(was) if all(map(is_wide, was)) else Levenshtein.distance(was, "".join(edit.new))
        for edit, was in replaced
    )
    length = sum(map(len, old))
    wide = sum(is_wide(word[0]) for word in old) * 2 > len(old)
    if wide:
        return Refusal.EDITS_TOO_MUCH if changed > max(_ALWAYS_WIDE, _MOST_WIDE_CHANGED * length) else None
    return Refusal.EDITS_TOO_MUCH if changed > max(3, _MOST_CHANGED * length) else None
