"""When somebody speaks, read from a subtitle file: SRT, WebVTT, ASS, TTML and the JSON shapes of YiVideo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from media.faults import FaultCode, MediaFault
from subtitles.clock import parse_clock
from subtitles.labels import split_label
from subtitles.reading import Unreadable, parse_text

MAX_FILE_BYTES = 32 << 20
_LISTS = ("segments", "merged_segments", "prepared_segments", "subtitles", "cues")
_START, _END = ("start", "start_time", "startTime"), ("end", "end_time", "endTime")


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
    cues = found if found is not None else _from_text(path, text)
    # What begins before the film is heard from the film's beginning.
    cues = [replace(cue, start=max(0.0, cue.start)) for cue in cues]
    usable = sorted((cue for cue in cues if cue.start < cue.end), key=lambda cue: (cue.start, cue.end))
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


def _from_text(path: Path, text: str) -> list[Cue]:
    try:
        found = parse_text(text)
    except Unreadable as error:
        raise _unreadable(path, str(error)) from None
    return [Cue(cue.start, cue.end, cue.plain, cue.speaker) for cue in found]


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
    own_speaker, text = split_label(str(entry.get("text") or ""))
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
    return parse_clock(value) if isinstance(value, str) else None


def _unreadable(path: Path, why: str) -> MediaFault:
    return MediaFault(FaultCode.SUBTITLE_UNREADABLE, f"the subtitle file {path.name} cannot be read: {why}")
