"""A text that was corrected as a whole gets the word times of the transcript that it came from.

Both are taken as tokens (words, or single wide characters) and aligned by least edits. A token that stayed keeps its time;
those that were changed, added or joined share the time between the tokens that stayed, in proportion to their letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from subtitles.cue import Word
from subtitles.line_breaking import split_pieces

_INSERT_SECONDS = 0.05
"""What a token gets that was put between two that follow each other without a pause."""


@dataclass(frozen=True)
class Alignment:
    """The corrected text as words with times."""

    words: list[Word]
    kept: int
    """Tokens of the text that stand in the transcript, at their place."""
    ratio: float
    """Share of all tokens of both that stayed, 0 to 1."""


def realign(words: Sequence[Word], text: str) -> Alignment:
    """Return the text's tokens with times. With no words or no text there is nothing to align: ratio 0."""
    old = [token for word in words for token in _tokens_of(word)]
    new = [(piece, gap) for piece, gap in split_pieces(text.replace("\n", " "))]
    if not old or not new:
        return Alignment([], 0, 0.0)
    old_keys, new_keys = [_key(token.text) for token in old], [_key(piece) for piece, _ in new]
    spans: list[tuple[float, float] | None] = [None] * len(new)
    speakers: list[str | None] = [None] * len(new)
    kept = 0
    for step in Levenshtein.opcodes(old_keys, new_keys):
        if step.tag == "equal":
            for offset in range(step.src_end - step.src_start):
                token = old[step.src_start + offset]
                spans[step.dest_start + offset] = token.start, token.end
                speakers[step.dest_start + offset] = token.speaker
                kept += 1
        elif step.tag in ("replace", "insert"):
            start, end = _room(old, step.src_start, step.src_end)
            pieces = [piece for piece, _ in new[step.dest_start : step.dest_end]]
            for offset, span in enumerate(_shares(pieces, start, end)):
                spans[step.dest_start + offset] = span
                speakers[step.dest_start + offset] = old[min(step.src_start, len(old) - 1)].speaker
    return Alignment(_monotone(new, spans, speakers), kept, 2 * kept / (len(old) + len(new)))


def _tokens_of(word: Word) -> list[Word]:
    """Return a word, or its wide characters one by one, each with its share of the time."""
    pieces = [piece for piece, _ in split_pieces(word.text)]
    if len(pieces) <= 1:
        return [word] if word.text.strip() else []
    return [
        Word(start, end, piece, word.probability, word.speaker)
        for piece, (start, end) in zip(pieces, _shares(pieces, word.start, word.end), strict=True)
    ]


def _key(token: str) -> str:
    letters = "".join(character for character in token.casefold() if character.isalnum())
    return letters or token


def _room(old: Sequence[Word], first: int, last: int) -> tuple[float, float]:
    """Return the time that replaced tokens had, or for added ones the pause that they stand in."""
    if last > first:
        return old[first].start, old[last - 1].end
    start = old[first - 1].end if first > 0 else max(0.0, old[0].start - _INSERT_SECONDS)
    end = old[first].start if first < len(old) else start + _INSERT_SECONDS
    return start, max(end, start)


def _shares(pieces: Sequence[str], start: float, end: float) -> list[tuple[float, float]]:
    total = sum(map(len, pieces)) or 1
    spans, clock = [], start
    for piece in pieces:
        until = clock + (end - start) * len(piece) / total
        spans.append((clock, until))
        clock = until
    return spans


def _monotone(
    new: Sequence[tuple[str, str]],
    spans: Sequence[tuple[float, float] | None],
    speakers: Sequence[str | None],
) -> list[Word]:
    words, clock, lead = [], 0.0, ""
    for (piece, gap), span, speaker in zip(new, spans, speakers, strict=True):
        start, end = span or (clock, clock)
        start = max(start, clock)
        end = max(end, start)
        words.append(Word(start, end, lead + piece, None, speaker))
        clock, lead = end, gap
    return words
