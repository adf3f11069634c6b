"""When somebody speaks, read from a subtitle file: SRT, WebVTT, ASS, TTML and the JSON shapes of YiVideo."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pysubs2

from media.faults import FaultCode, MediaFault

MAX_FILE_BYTES = 32 << 20
_LISTS = ("segments", "merged_segments", "prepared_segments", "subtitles", "cues")
_START, _END = ("start", "start_time", "startTime"), ("end", "end_time", "endTime")
_SPEAKER_PREFIX = re.compile(r"^\s*\[([A-Za-z][\w .-]{0,63})\]\s*")
_VOICE_TAG = re.compile(r"^\s*<v(?:\.[\w.-]+)?\s+([^>]{1,64})>")
_TAG = re.compile(r"</?[A-Za-z][^>]*>")
_EVENTS = re.compile(r"^\[Events\]\s*$", re.MULTILINE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)$")


@dataclass(frozen=True)
class Cue:
    """One stretch of speech, in seconds on the film's clock."""

    start: float
    end: float
    text: str = ""
    speaker: str | None = None
    confidence: float | None = None
    words: tuple[Mapping[str, Any], ...] | None = None


def load_cues(path: Path, encoding: str | None = None) -> list[Cue]:
    """Return the file's cues in order of time; cues that end before they start are left out.

    Without `encoding` the text is read as UTF-8 or UTF-16 by its marks, else as Windows-1252: the times are
    right in any case.

    Raises:
        MediaFault: SUBTITLE_UNREADABLE or SUBTITLE_EMPTY.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    text = _decoded(path, encoding)
    if not text.strip():
        raise MediaFault(FaultCode.SUBTITLE_EMPTY, f"the subtitle file {path.name} is empty")
    found = _from_json(path, text) if text.lstrip()[:1] in ("{", "[") else None
    cues = found if found is not None else list(_from_text(path, text))
    usable = sorted((cue for cue in cues if 0 <= cue.start < cue.end), key=lambda cue: (cue.start, cue.end))
    if not usable:
        raise MediaFault(
            FaultCode.SUBTITLE_EMPTY, f"the subtitle file {path.name} has no cue with a duration"
        )
    return usable


def _decoded(path: Path, encoding: str | None) -> str:
    raw = path.read_bytes()
    if encoding is not None:
        try:
            return raw.decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise _unreadable(path, f"it is not {encoding}") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _from_text(path: Path, text: str) -> Iterator[Cue]:
    try:
        # A script without styles is not recognised by itself; voice tags would be thrown away unread.
        form = "ass" if _EVENTS.search(text) else None
        subtitles = pysubs2.SSAFile.from_string(text, format_=form, keep_unknown_html_tags=True)
    except Exception as error:  # pysubs2 lets through whatever its parsers stumble over
        raise _unreadable(path, "it is none of SRT, WebVTT, ASS, TTML, or a YiVideo JSON") from error
    for event in subtitles:
        if event.is_comment:
            continue
        speaker, words = _speaker_of(event.plaintext)
        if event.name and speaker is None:
            speaker = event.name
        yield Cue(event.start / 1000, event.end / 1000, _TAG.sub("", words).strip(), speaker)


def _speaker_of(text: str) -> tuple[str | None, str]:
    """Split `[SPEAKER_00] words` or `<v Ann>words` into the speaker and the words."""
    for form in (_SPEAKER_PREFIX, _VOICE_TAG):
        if match := form.match(text):
            return match[1].strip(), text[match.end() :]
    return None, text


def _from_json(path: Path, text: str) -> list[Cue] | None:
    """Return the cues of a YiVideo JSON file; None when the text is no JSON after all (ASS begins with `[`)."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if text.lstrip().startswith("{"):
            raise _unreadable(path, "it begins like JSON and is none") from error
        return None
    if isinstance(document, dict) and document.get("success") is False:
        raise _unreadable(path, "it is the report of a failed task")
    entries = document
    if isinstance(document, dict):
        entries = next((document[name] for name in _LISTS if name in document), None)
    if not isinstance(entries, list):
        raise _unreadable(path, f"it has no list named {', '.join(_LISTS)}")
    return [_entry(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _entry(path: Path, number: int, entry: Any) -> Cue:
    if not isinstance(entry, dict):
        raise _unreadable(path, f"entry {number} is not an object")
    start, end = (
        _instant(next((entry[key] for key in keys if key in entry), None)) for keys in (_START, _END)
    )
    if start is None or end is None:
        raise _unreadable(path, f"entry {number} has no usable start and end")
    own_speaker, text = _speaker_of(str(entry.get("text") or ""))
    words = entry.get("words")
    confidence = entry.get("confidence", entry.get("speaker_confidence"))
    return Cue(
        start=start,
        end=end,
        text=text.strip(),
        speaker=str(entry["speaker"]) if entry.get("speaker") else own_speaker,
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        words=tuple(words) if isinstance(words, list) and words else None,
    )


def _instant(value: Any) -> float | None:
    """Return seconds from a number or from `00:01:02,500`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    match = _CLOCK.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))


def _unreadable(path: Path, why: str) -> MediaFault:
    return MediaFault(FaultCode.SUBTITLE_UNREADABLE, f"the subtitle file {path.name} cannot be read: {why}")
