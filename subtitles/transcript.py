"""Transcripts and subtitles as JSON: the shapes that YiVideo's nodes and the origin system's write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from subtitles.clock import parse_clock
from subtitles.cue import Cue, Word

LISTS = (
    "segments",
    "merged_segments",
    "prepared_segments",
    "optimized_segments",
    "translated_segments",
    "subtitles",
    "cues",
)
"""Names under which a document holds its entries; the first one that is there counts."""
MAX_SECONDS = 1e8
"""Three years: a time beyond is none, and larger ones would overflow where they are counted in milliseconds."""
_START, _END = ("start", "start_time", "startTime"), ("end", "end_time", "endTime")


class NotATranscript(ValueError):
    """The document has another shape; the message says where."""


def from_json(document: Any) -> list[Cue]:
    """Return the cues of a list of entries, or of an object that holds one. Raises NotATranscript."""
    if isinstance(document, Mapping):
        if document.get("success") is False:
            raise NotATranscript("it is the report of a failed task")
        document = next((document[name] for name in LISTS if name in document), None)
        if document is None:
            raise NotATranscript(f"it has no list named {', '.join(LISTS)}")
    if not isinstance(document, list | tuple):
        raise NotATranscript("its entries are not a list")
    return [_cue(number, entry) for number, entry in enumerate(document, 1)]


def to_entries(cues: Iterable[Cue], first: int = 1) -> list[dict[str, Any]]:
    """Return entries `{id, start, end, duration, text, speaker?, confidence?, words?, translation?}` in seconds."""
    entries = []
    for number, cue in enumerate(cues, first):
        entry: dict[str, Any] = {
            "id": number,
            "start": cue.start,
            "end": cue.end,
            "duration": round(cue.duration, 6),
            "text": cue.text,
        }
        if cue.speaker is not None:
            entry["speaker"] = cue.speaker
        if cue.confidence is not None:
            entry["confidence"] = cue.confidence
        if cue.translation is not None:
            entry["translation"] = cue.translation
        if cue.words:
            entry["words"] = [word.to_json() for word in cue.words]
        entries.append(entry)
    return entries


def _cue(number: int, entry: Any) -> Cue:
    if not isinstance(entry, Mapping):
        raise NotATranscript(f"entry {number} is not an object")
    start, end = (_first_instant(entry, names) for names in (_START, _END))
    if start is None or end is None:
        raise NotATranscript(f"entry {number} has no usable start and end")
    words = entry.get("words")
    return Cue(
        start,
        end,
        str(entry.get("text") or "").replace("\r\n", "\n").replace("\r", "\n").strip(),
        speaker=_text_or_none(entry.get("speaker")),
        words=tuple(to_words(words, number)) if isinstance(words, list) else (),
        confidence=_number(entry.get("confidence", entry.get("speaker_confidence"))),
        translation=_text_or_none(entry.get("translation")),
    )


def to_words(entries: Iterable[Any], number: int = 0) -> list[Word]:
    """Return words from `{word|text, start, end, confidence|probability?, speaker?}`; those without times are left out."""
    words = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise NotATranscript(f"a word of entry {number} is not an object")
        start, end = (_first_instant(entry, names) for names in (_START, _END))
        text = entry.get("word", entry.get("text"))
        if start is None or end is None or not isinstance(text, str):
            continue
        probability = _number(entry.get("confidence", entry.get("probability")))
        words.append(Word(start, end, text, probability, _text_or_none(entry.get("speaker"))))
    return words


def _first_instant(entry: Mapping[str, Any], names: Iterable[str]) -> float | None:
    return _instant(next((entry[name] for name in names if name in entry), None))


def _instant(value: Any) -> float | None:
    seconds = parse_clock(value) if isinstance(value, str) else _number(value)
    return seconds if seconds is not None and abs(seconds) <= MAX_SECONDS else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text_or_none(value: Any) -> str | None:
    return str(value) if value else None
