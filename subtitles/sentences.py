"""A running text cut into sentences, and sentences into lines: for subtitles of texts that have no times yet."""

from __future__ import annotations

import re
from collections.abc import Iterator

from subtitles.line_breaking import split_pieces

_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|e\.g|i\.e|no|vol|inc|ltd|co|gen|col|sgt|capt|rev|fig|approx|jan|feb|mar|apr|jun|jul|aug"
    r"|sep|sept|oct|nov|dec|a\.m|p\.m|u\.s|u\.k|bzw|z\.b|usw|cf)|\b[A-Z])\.$",
    re.IGNORECASE,
)
_END = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？…]+[」』”’）]*")
_CUTS = (", ", "; ", ": ", "，", "；", "：", "、", ". ", "! ", "? ", " ")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the spaces between them. Joined by spaces they have every word of it."""
    sentences: list[str] = []
    for paragraph in text.split("\n"):
        start = 0
        for match in _END.finditer(paragraph):
            candidate = paragraph[start : match.end()].strip()
            following = paragraph[match.end() :].lstrip()[:1]
            wide = match[0][0] in "。！？"
            if not wide and match[0] == "." and (_ABBREVIATION.search(candidate) or following.islower()):
                continue
            if candidate:
                sentences.append(candidate)
            start = match.end()
        if rest := paragraph[start:].strip():
            sentences.append(rest)
    return sentences


def split_to_length(sentence: str, max_chars: int) -> list[str]:
    """Cut a sentence into pieces of at most `max_chars` characters: at a comma, else at another mark, else at a space.

    A single word longer than that stays whole.
    """
    pieces: list[str] = []
    rest = sentence.strip()
    while len(rest) > max_chars:
        place = _cut_place(rest, max_chars)
        pieces.append(rest[:place].strip())
        rest = rest[place:].strip()
    return [*pieces, rest] if rest else pieces


def _cut_place(text: str, max_chars: int) -> int:
    head = text[: max_chars + 1]
    for mark in _CUTS:
        place = head.rfind(mark)
        end = place + len(mark)
        # A cut near the front would leave a stump and help nobody.
        if place > 0 and end - (mark[-1] == " ") <= max_chars and (mark == " " or end * 4 >= max_chars):
            return end
    # Only the beginning is looked at, as far as its first piece goes: a text without marks may be a whole film's.
    near = 2 * max_chars + 2
    while near < len(text) and len(split_pieces(text[:near])) < 2:
        near *= 2
    return _piece_end(text[:near], max_chars)


def _piece_end(text: str, max_chars: int) -> int:
    """Return the last place between unbreakable pieces within the length; the end of the first piece if there is none."""
    end = 0
    for piece, gap in split_pieces(text):
        if end and end + len(piece) > max_chars:
            break
        end = text.index(piece, end) + len(piece) + len(gap)
    return end


def lines_of(text: str, max_chars: int) -> Iterator[str]:
    """Give a text's sentences, cut to length."""
    for sentence in split_sentences(text):
        yield from split_to_length(sentence, max_chars)
