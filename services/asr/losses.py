"""Losses: stretches of speech that have far fewer words than their length has room for.

Whisper's search can pass over a sentence and say the next one's first words for it: these are then stretched over its time, and the
text reads as if nothing had been said between. The slowest of unhurried speech tells that from a pause inside a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from services.asr.transcript import Word
from services.asr.windows import Piece, Window

SLOWEST_SECONDS = 0.15
"""Of a letter. Speech has 0.05 to 0.08, a verse read slowly 0.1. A wide sign (Chinese, kana, Hangul) counts as three letters."""
LOSS_SECONDS = 1.0
"""Speech this much longer than its words is a loss. Measured with base: at most 0.64 in what was heard right of ../shared/media
(the sonnet), 1.4 to 4.2 where sentences are missing."""
_WIDE_LETTERS = 3
_DIGIT_LETTERS = 4


def losses(window: Window, words: Sequence[Word]) -> list[tuple[float, float, float]]:
    """Return where a window's speech has too few words: start, end, and how many seconds too long it is. Words are on the clock."""
    waiting = sorted(words, key=lambda word: word.start)
    found = []
    for piece in window.pieces:
        inside = [word for word in waiting if piece.start <= (word.start + word.end) / 2 <= piece.end]
        found += _runs(list(_stretches(piece, inside)))
    return found


def _stretches(piece: Piece, words: Sequence[Word]) -> Iterator[tuple[float, float, float]]:
    """Give words and the gaps between them in order: start, end, and by how much each is longer than its letters."""
    edge = piece.speech.start
    for word in words:
        if word.start > edge:
            yield edge, word.start, word.start - edge
        yield word.start, word.end, word.end - word.start - SLOWEST_SECONDS * _letters(word.text)
        edge = max(edge, word.end)
    if piece.speech.end > edge:
        yield edge, piece.speech.end, piece.speech.end - edge


def _runs(stretches: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return the runs of stretches that are too long by `LOSS_SECONDS` in all; what follows a run begins anew."""
    found: list[tuple[float, float, float]] = []
    begin = best_end = total = best = 0.0
    for start, end, excess in (*stretches, (0.0, 0.0, -float("inf"))):
        if total <= 0:
            begin, total, best = start, 0.0, 0.0
        total += excess
        if total > best:
            best, best_end = total, end
        elif total <= 0:
            if best >= LOSS_SECONDS:
                found.append((begin, best_end, best))
            best = 0.0
    return found


def _letters(text: str) -> int:
    return sum(
        _DIGIT_LETTERS
        if letter.isdigit()
        else _WIDE_LETTERS
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
        if letter.isalnum()
    )
