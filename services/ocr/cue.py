"""Cues out of lines that were read: one text merged where it is one, lines stacked, and what is no subtitle set apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.ocr.engine import Box

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
_BETWEEN = re.compile(rf"(?<=[{_CJK}，。！？、：；「」『』]) +(?=[{_CJK}，。！？、：；「」『』])")
_SURE_WHOLE = 0.8
"""Confidence with which a longer line counts rather than a part of it."""
_STATIC_SHARE = 0.6
_STATIC_SECONDS = 8.0


@dataclass(frozen=True)
class ReadLine:
    """A line with its text."""

    start: float
    end: float
    text: str
    """Normalised."""
    raw: str
    """As the engine read it."""
    confidence: float
    box: Box
    """In pixels of the whole picture."""


@dataclass(frozen=True)
class Cue:
    """One subtitle: one or more lines that come and go together."""

    start: float
    end: float
    lines: tuple[ReadLine, ...]
    """From top to bottom."""

    @property
    def text(self) -> str:
        """The lines, one below the other."""
        return "\n".join(line.text for line in self.lines)


def normalised(raw: str) -> str:
    """Return a text without doubled spaces, spaces between Chinese or Japanese signs, and full-width Latin letters and digits."""
    narrow = "".join(
        unicodedata.normalize("NFKC", sign) if "０" <= sign <= "９" or "Ａ" <= sign <= "ｚ" else sign
        for sign in raw
    )
    return _BETWEEN.sub("", re.sub(r"\s+", " ", narrow)).strip()


def merged(lines: Sequence[ReadLine], gap_seconds: float) -> list[ReadLine]:
    """Join equal lines of one place with at most `gap_seconds` between them, and lines that one place shows at one time.

    Lines that differ, if only by a letter, stay two when one follows the other: that was seen in the picture.
    """
    joined: list[ReadLine] = []
    for line in sorted(lines, key=lambda one: (one.start, one.end)):
        for number, other in enumerate(joined):
            near = line.start - other.end <= gap_seconds and line.box.overlap(other.box) > 0.5
            together = min(line.end, other.end) - line.start > 0.5 * (line.end - line.start)
            if near and (together or _bare(line.text) == _bare(other.text)):
                better = _better(other, line)
                joined[number] = replace(better, start=other.start, end=max(line.end, other.end))
                break
        else:
            joined.append(line)
    return joined


def _better(one: ReadLine, other: ReadLine) -> ReadLine:
    """Return which of two readings of one line counts: the whole line's, where the other saw a part of it, else the surer one."""
    longer, shorter = sorted((one, other), key=lambda line: -max(line.box.width, line.box.height))
    room = min(longer.box.width, longer.box.height) // 2
    is_part = max(longer.box.width, longer.box.height) - max(shorter.box.width, shorter.box.height) > room
    if is_part and longer.confidence >= _SURE_WHOLE and len(_bare(longer.text)) > len(_bare(shorter.text)):
        return longer
    return max(one, other, key=lambda line: (line.confidence, line.end - line.start))


def _bare(text: str) -> str:
    return "".join(text.split())


def split_static(lines: Sequence[ReadLine], film_seconds: float) -> tuple[list[ReadLine], list[ReadLine]]:
    """Return the lines that change, and those that stand for most of the film: a logo, a channel's mark."""
    changing: list[ReadLine] = []
    static: list[ReadLine] = []
    for line in lines:
        alike = (one for one in lines if one.box.overlap(line.box) > 0.7 and one.text == line.text)
        shown = sum(one.end - one.start for one in alike)
        stays = shown >= max(_STATIC_SECONDS, _STATIC_SHARE * film_seconds)
        (static if stays else changing).append(line)
    return changing, static


def split_scene(lines: Sequence[ReadLine], width: int) -> tuple[list[ReadLine], list[ReadLine]]:
    """Return the lines that stand where subtitles do (centred, or in a row that other texts use too), and all others."""
    subtitles: list[ReadLine] = []
    scene: list[ReadLine] = []
    for line in lines:
        centred = abs((line.box.left + line.box.right) / 2 - width / 2) <= 0.06 * width
        tolerance = 0.4 * line.box.height
        if line.box.is_column:
            tolerance = 0.4 * line.box.width
            shared = any(
                one.text != line.text and _same_column(one.box, line.box, tolerance) for one in lines
            )
            (subtitles if shared else scene).append(line)
            continue
        shared = any(
            one.text != line.text
            and abs(one.box.bottom - line.box.bottom) < tolerance
            and abs(one.box.left - line.box.left) < tolerance
            for one in lines
        )
        (subtitles if centred or shared else scene).append(line)
    return subtitles, scene


def _same_column(one: Box, other: Box, tolerance: float) -> bool:
    return (
        one.is_column
        and abs(one.right - other.right) < tolerance
        and abs(one.top - other.top) < 2 * tolerance
    )


def stacked(lines: Sequence[ReadLine], slack_seconds: float) -> list[Cue]:
    """Put lines that come and go together (within `slack_seconds`) into one cue."""
    groups: list[list[ReadLine]] = []
    for line in sorted(lines, key=lambda one: (one.start, one.box.top)):
        for group in groups:
            head = group[0]
            if abs(head.start - line.start) <= slack_seconds and abs(head.end - line.end) <= slack_seconds:
                group.append(line)
                break
        else:
            groups.append([line])
    cues = [
        Cue(
            min(one.start for one in group),
            max(one.end for one in group),
            tuple(sorted(group, key=_place)),
        )
        for group in groups
    ]
    return sorted(cues, key=lambda cue: (cue.start, cue.lines[0].box.top))


def _place(line: ReadLine) -> tuple[int, int]:
    """Return what lines of one cue are sorted by: rows from top to bottom, columns from right to left."""
    return (-line.box.right, line.box.top) if line.box.is_column else (line.box.top, line.box.left)
