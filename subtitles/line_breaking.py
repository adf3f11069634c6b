"""Where a subtitle's text is broken into lines: where a reader would pause, and so that lines are of like length.

All ways to break a text at its allowed places are weighed at once (dynamic programming over the places, as TeX breaks
paragraphs): a cost for how much longer the longest line is, less what the place is worth.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import add

from subtitles.cue import plain
from subtitles.measure import Limits, columns, is_wide

SENTENCE_END = ".!?…。！？"
CLAUSE_END = ",;:，；：、—–"
_CLOSING = "」』）】》〉”’\"')]}"
_OPENING = "「『（【《〈“‘([{"
_NEVER_FIRST = set(SENTENCE_END + CLAUSE_END + _CLOSING + "·%‰℃ー々ゝゞっゃゅょァィゥェォッャュョ的了吗呢吧")
_ATTACHED = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]")
"""What changes the character before it and is none by itself: joiners, variants, the colours of faces."""
_MOST_WEIGHED_LINES = 12
"""More lines are no subtitle: they are filled one after the other, as weighing all ways would take hours for a book."""
_LINK_WORDS = re.compile(
    r"(?:and|or|but|nor|so|yet|because|although|though|while|when|where|who|which|that|if|than|as|with|without|for|from|to|in|on|at|by"
    r"|of|into|about|after|before|und|oder|aber|weil|dass|wenn|et|ou|mais|que|qui|y|o|pero|porque|e|ma|che|и|но|что|а|или)$",
    re.IGNORECASE,
)
_WEAK_WORDS = re.compile(
    r"(?:a|an|the|my|your|his|her|its|our|their|this|these|those|some|no|not|very|mr|mrs|ms|dr|st|der|die|das|ein|eine|le|la|les|un"
    r"|une|el|los|il|lo)\.?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Piece:
    """What stands between two places where a line may end."""

    text: str
    gap: str
    """The space behind it, which a break swallows."""


def split_pieces(text: str) -> list[tuple[str, str]]:
    """Return the text's unbreakable pieces, each with the space behind it: words, and single wide characters.

    Punctuation stays with what it belongs to; Latin words and numbers inside Chinese stay whole.
    """
    pieces: list[tuple[str, str]] = []
    for word, gap in re.findall(r"(\S+)(\s*)", text):
        parts = _wide_parts(word)
        pieces += [(part, "") for part in parts[:-1]]
        pieces.append((parts[-1], " " if gap else ""))
    return pieces


@lru_cache(maxsize=32_768)
def _wide_parts(word: str) -> tuple[str, ...]:
    if word.isascii():
        return (word,)
    parts: list[str] = []
    for character in word:
        joins = bool(parts) and (
            character in _NEVER_FIRST
            or _ATTACHED.match(character) is not None
            or unicodedata.combining(character) > 0
            or parts[-1][-1] == "\u200d"
            or parts[-1][-1] in _OPENING
            or not (is_wide(character) or is_wide(parts[-1][-1]))
        )
        if joins:
            parts[-1] += character
        else:
            parts.append(character)
    return tuple(parts)


def break_lines(text: str, limits: Limits, *, cjk: bool) -> str:
    """Return the text with line breaks: as few lines as hold it, at most `limits.lines` where that is possible at all.

    Line breaks of the text itself count as spaces. A piece longer than a line stays whole on a line of its own.
    """
    flat = re.sub(r"\s*\n\s*", " ", text.strip())
    if columns(flat, cjk=cjk) <= limits.line_columns:
        return flat
    pieces = [_Piece(*piece) for piece in split_pieces(flat)]
    widths = [columns(piece.text, cjk=cjk) for piece in pieces]
    gaps = [columns(piece.gap, cjk=cjk) for piece in pieces]
    filled = _filled(pieces, widths, gaps, limits.line_columns)
    if len(filled) > _MOST_WEIGHED_LINES:
        return "\n".join(filled)
    # No way to break a text needs fewer lines than filling them one after the other.
    broken = _into(len(filled), pieces, widths, gaps, limits.line_columns)
    return "\n".join(broken or filled)


def _filled(pieces: list[_Piece], widths: list[float], gaps: list[float], line_columns: float) -> list[str]:
    """Return lines that each take as many pieces as they hold."""
    lines: list[list[_Piece]] = []
    used = 0.0
    for piece, width, gap in zip(pieces, widths, gaps, strict=True):
        if not lines or used + width > line_columns:
            lines.append([])
            used = 0.0
        lines[-1].append(piece)
        used += width + gap
    return ["".join(piece.text + piece.gap for piece in line).strip() for line in lines]


def fits(text: str, limits: Limits, *, cjk: bool) -> bool:
    """Whether the text can be broken into lines within the limits."""
    lines = break_lines(text, limits, cjk=cjk).split("\n")
    return len(lines) <= limits.lines and all(columns(line, cjk=cjk) <= limits.line_columns for line in lines)


@lru_cache(maxsize=32_768)
def place_cost(before: str, after: str) -> float:
    """Return what a line break between two pieces costs, 0 (a sentence's end) to 3 (inside a noun phrase)."""
    last = plain(before).rstrip(_CLOSING)[-1:] or before[-1:]
    if last in SENTENCE_END:
        return 0.0
    if last in CLAUSE_END:
        return 0.3
    word = plain(after).strip()
    if _WEAK_WORDS.search(plain(before)):
        return 3.0
    if _LINK_WORDS.match(word):
        return 0.8
    if _LINK_WORDS.search(plain(before)) and not is_wide(last):
        return 2.2
    return 1.4


def _into(
    count: int, pieces: list[_Piece], widths: list[float], gaps: list[float], line_columns: float
) -> list[str] | None:
    """Return the best `count` lines; None when one would be too long although it could be broken."""
    total = len(pieces)
    even = (sum(widths) + sum(gaps)) / count
    until = list(accumulate(map(add, widths, gaps), initial=0.0))
    # best[i]: cost and break before piece i, for the lines so far.
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for number in range(1, count + 1):
        row: dict[int, tuple[float, int]] = {}
        for start, (cost, _) in best[-1].items():
            # The last line ends where the text does, and no other one.
            for end in range(start + 1, total) if number < count else (total,):
                width = until[end] - until[start] - gaps[end - 1]
                if width > line_columns and end - start > 1:
                    break
                here = cost + ((width - even) / even) ** 2 * 2
                if end < total:
                    here += place_cost(pieces[end - 1].text, pieces[end].text)
                if end not in row or here < row[end][0]:
                    row[end] = (here, start)
        best.append(row)
    if total not in best[count]:
        return None
    lines, end = [], total
    for number in range(count, 0, -1):
        start = best[number][end][1]
        lines.append("".join(piece.text + piece.gap for piece in pieces[start:end]).strip())
        end = start
    return lines[::-1]
