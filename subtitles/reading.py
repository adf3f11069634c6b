"""A subtitle file read, whatever its form and encoding: SRT, WebVTT, ASS/SSA, TTML, SAMI, MicroDVD, LRC and YiVideo's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pysubs2

from subtitles.blocks import looks_timed, read_blocks
from subtitles.clock import parse_clock
from subtitles.cue import Cue
from subtitles.encoding import decode
from subtitles.transcript import NotATranscript, from_json

MAX_FILE_BYTES = 32 << 20
_ASS_EVENTS = re.compile(r"^\[Events\]\s*$", re.MULTILINE | re.IGNORECASE)
_LRC_LINE = re.compile(r"^((?:\[\d{1,4}:\d{1,2}(?:[.:]\d{1,3})?\])+)(.*)$")
_LRC_CLOCK = re.compile(r"\[([^\]]+)\]")
_LAST_LRC_SECONDS = 5.0
_MICRODVD_RATE = re.compile(r"\s*\{1\}\{1\}\s*\d{1,3}(?:\.\d{1,6})?\s*(?:\n|$)")


class Unreadable(ValueError):
    """The file is in no form that is known here; the message says what was found."""


@dataclass(frozen=True)
class Document:
    """What a file held."""

    cues: list[Cue]
    """In the order of the file, as they stand there: nothing is mended or left out."""
    form: str
    """`srt`, `vtt`, `ass`, `ttml`, `sami`, `microdvd`, `lrc` or `json`."""
    encoding: str
    replaced: int
    """Characters that could not be decoded."""

    @property
    def names_speakers(self) -> bool:
        """Whether it is its texts that say who speaks: written again without the names they would have lost something."""
        return self.form in ("srt", "vtt") and any(cue.speaker for cue in self.cues)


def read_document(path: Path, encoding: str | None = None) -> Document:
    """Read a file of at most 32 MiB. `encoding` overrides what its bytes suggest. Raises Unreadable."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Unreadable(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        decoded = decode(path.read_bytes(), encoding)
    except (ValueError, LookupError):  # some codecs refuse in ways of their own
        raise Unreadable(f"it is not {encoding!r}") from None
    form, cues = _parse(decoded.text)
    return Document(cues, form, decoded.encoding, decoded.replaced)


def parse_text(text: str) -> list[Cue]:
    """Return the cues of a file's text. Raises Unreadable."""
    return _parse(text)[1]


def _parse(text: str) -> tuple[str, list[Cue]]:
    head = text.lstrip()
    if not head:
        return "srt", []
    if head[0] in "{[" and (document := _json(head)) is not None:
        return "json", document
    if _ASS_EVENTS.search(text):
        return "ass", list(_by_library(text, "ass"))
    if re.match(r"WEBVTT(\s|$)", head):
        return "vtt", read_blocks(text, vtt=True)
    if re.search(r"<(?:\w+:)?tt[\s>]", head[:4096]):
        return "ttml", list(_by_library(text, "ttml"))
    if re.search(r"<sami", head[:4096], re.IGNORECASE):
        return "sami", list(_by_library(text, "sami"))
    if looks_timed(text):
        return "srt", read_blocks(text, vtt=False)
    if re.match(r"\{\d+\}\{\d+\}", head):
        return "microdvd", list(_by_library(text, "microdvd"))
    if any(_LRC_LINE.match(line) for line in text.split("\n")):
        return "lrc", _lrc(text)
    raise Unreadable("it is none of SRT, WebVTT, ASS, TTML, SAMI, MicroDVD, LRC, or a YiVideo JSON")


def _json(text: str) -> list[Cue] | None:
    """Return a JSON document's cues; None when the text is no JSON after all (ASS, LRC and MicroDVD begin alike)."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        if re.match(r"\{\s*\"", text):
            raise Unreadable("it begins like JSON and is none") from None
        return None
    try:
        return from_json(document)
    except NotATranscript as error:
        raise Unreadable(str(error)) from error


def _by_library(text: str, form: str) -> Iterator[Cue]:
    # MicroDVD counts frames: of a rate that its first line tells, or nobody.
    rate = {"fps": 25.0} if form == "microdvd" and not _MICRODVD_RATE.match(text) else {}
    try:
        events = pysubs2.SSAFile.from_string(text, format_=form, **rate)
    except Exception as error:  # pysubs2 lets through whatever its parsers stumble over
        raise Unreadable(f"it looks like {form} and cannot be read as that") from error
    for event in events:
        if not event.is_comment and not event.is_drawing:
            yield Cue(event.start / 1000, event.end / 1000, _srt_text(event), event.name or None)


def _srt_text(event: pysubs2.SSAEvent) -> str:
    """Return an event's text with its italics, bold and underlines as SRT writes them, and no other override."""
    # A brace with a backslash is one that is shown; it opens no override.
    text = event.text.replace("\\{", "\x01").replace("\\}", "\x02")
    text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", "\u00a0")
    for letter in "ibu":
        parts = re.split(rf"\{{\\{letter}([01])\}}", text)
        text, open_ = parts[0], False
        for state, part in zip(parts[1::2], parts[2::2], strict=True):
            if (state == "1") != open_:
                text += f"<{'' if state == '1' else '/'}{letter}>"
                open_ = state == "1"
            text += part
        text += f"</{letter}>" if open_ else ""
    text = re.sub(r"\{[^{}]*\}", "", text).replace("\x01", "{").replace("\x02", "}")
    return text.replace("\u2060", "").strip()


def _lrc(text: str) -> list[Cue]:
    """Return LRC lines as cues that last until the next line; one without words only ends the cue before it."""
    marks = sorted(
        (start, match[2].strip())
        for line in text.split("\n")
        if (match := _LRC_LINE.match(line))
        for clock in _LRC_CLOCK.findall(match[1])
        if (start := parse_clock(clock)) is not None
    )
    ends = [start for start, _ in marks[1:]] + [marks[-1][0] + _LAST_LRC_SECONDS]
    return [Cue(start, end, words) for (start, words), end in zip(marks, ends, strict=True) if words]
