"""Comparison of a script with what a recogniser heard: error rates by word or by character, without punctuation and case."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def word_error_rate(script: str, heard: str) -> float:
    """Return words wrong, missing or invented, by words of the script; 0 is perfect, and invented words can lead beyond 1."""
    return _error_rate(_plain(script).split(), _plain(heard).split())


def character_error_rate(script: str, heard: str) -> float:
    """Return the same by character, for scripts that put no spaces between words."""
    return _error_rate("".join(_plain(script).split()), "".join(_plain(heard).split()))


def _plain(text: str) -> str:
    """Return letters, digits and marks in small letters; everything else separates words."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("’", "")
    return "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in folded)


def _error_rate(script: Sequence[str], heard: Sequence[str]) -> float:
    """Return the Levenshtein distance by the length of the script."""
    if not script:
        raise ValueError("the script has no word")
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(script, 1):
        above_left, row[0] = row[0], i
        for j, found in enumerate(heard, 1):
            above_left, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, above_left + (wanted != found)),
            )
    return row[-1] / len(script)
