"""SRT and WebVTT as people have them: read by their time lines, whatever is wrong with numbers, blank lines and order.

A reader that skips what it does not understand loses words in silence, so everything that is not a time line or a number before one
is text, and times are taken as they stand, also when they are negative, out of order or absurd: `subtitles.fixes` mends that.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import pairwise

from subtitles.clock import parse_clock
from subtitles.cue import Cue
from subtitles.labels import name_speakers

_CLOCK = r"-?(?:\d{1,4}:)?\d{1,4}:\d{1,3}(?:[.,:]\d{1,9})?"
_TIMES = re.compile(rf"^\s*({_CLOCK})\s*(?:-{{1,3}}>|→)\s*({_CLOCK})(?:\s.*)?$")
_NUMBER = re.compile(r"^\s*\d{1,9}\s*$")
_GUARDED_ARROW = re.compile("\u2060(?=[>→])")
_VOICE = re.compile(r"^\s*<v(?:\.[\w.-]+)?\s+([^>]{1,200})>")
_VTT_BLOCK = re.compile(r"^(NOTE|STYLE|REGION|WEBVTT)(\s|$)")
_VTT_TAG = re.compile(r"</?(?:c|v|lang|ruby|rt)(?:[. ][^<>]{0,200})?>|<\d[\d:.]*>")


def looks_timed(text: str) -> bool:
    """Whether a text has at least one SRT or WebVTT time line."""
    return any(_TIMES.match(line) for line in text.split("\n"))


def guard_times(text: str) -> str:
    """Return a cue's text in which no line is taken for a time line: a word joiner, which shows nothing, parts its arrow.

    `read_blocks` takes it out again.
    """
    if "-->" not in text and not looks_timed(text):
        return text
    lines = text.split("\n")
    return "\n".join(re.sub("[>→]", "\u2060\\g<0>", line) if _arrow(line) else line for line in lines)


def _arrow(line: str) -> bool:
    return "-->" in line or _TIMES.match(line) is not None


def read_blocks(text: str, *, vtt: bool) -> list[Cue]:
    """Return the cues in the order of the file."""
    return name_speakers(list(_blocks(text, vtt=vtt)))


def _blocks(text: str, *, vtt: bool) -> Iterator[Cue]:
    lines = text.split("\n")
    marks = [(place, match) for place, line in enumerate(lines) if (match := _TIMES.match(line))]
    numbered = not vtt and _is_numbered(lines, [place for place, _ in marks])
    for number, (place, match) in enumerate(marks):
        last = number + 1 == len(marks)
        body = lines[place + 1 : len(lines) if last else marks[number + 1][0]]
        start, end = parse_clock(match[1]), parse_clock(match[2])
        if start is None or end is None:
            continue
        yield _cue(start, end, _body_text(body, vtt=vtt, last=last, numbered=numbered), vtt=vtt)


def _is_numbered(lines: list[str], marks: list[int]) -> bool:
    """Whether the numbers in front of time lines count the cues: most have one, and each is more than the one before.

    In a file without them a number at the end of a cue is said, as in a countdown.
    """
    found = []
    for place, before in zip(marks, [-1, *marks], strict=False):
        said = next((line for line in reversed(lines[before + 1 : place]) if line.strip()), "")
        if _NUMBER.match(said):
            found.append(int(said))
    growing = sum(one < other for one, other in pairwise(found))
    return len(found) * 2 > len(marks) and growing * 2 >= len(found) - 1


def _body_text(body: list[str], *, vtt: bool, last: bool, numbered: bool) -> str:
    """Return a cue's text from the lines up to the next time line: without that one's number or identifier.

    That stands right above the time line; in a file that numbers its cues blank lines may lie between.
    """
    if numbered:
        while body and not body[-1].strip():
            body.pop()
    if not last and body and _NUMBER.match(body[-1]):
        body.pop()
    if vtt:
        body = _before_blank(body)
    return "\n".join(_GUARDED_ARROW.sub("", line.strip()) for line in body if line.strip())


def _before_blank(body: list[str]) -> list[str]:
    """Return the lines before the first empty one, which ends a cue in WebVTT; one of blanks does not."""
    for place, line in enumerate(body):
        if line in ("", "\r") or (place > 0 and _VTT_BLOCK.match(line)):
            return body[:place]
    return body


def _cue(start: float, end: float, text: str, *, vtt: bool) -> Cue:
    voice = _VOICE.match(text) if vtt else None
    speaker = voice[1].strip() if voice else None
    text = text[voice.end() :] if voice else text
    if vtt:
        text = html.unescape(_VTT_TAG.sub("", text))
    return Cue(start, end, text.strip(), html.unescape(speaker) if speaker else None)
