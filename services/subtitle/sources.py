"""Where a task's segments and speakers come from: a file, or the request itself. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.subtitle.faults import FaultCode, SubtitleFault
from services.subtitle.speakers import Turns, turns_from_json
from subtitles.cue import Cue
from subtitles.reading import Document, Unreadable, read_document
from subtitles.transcript import NotATranscript, from_json


@dataclass(frozen=True)
class Source:
    """One source: a file or inline data, and the input field that named it."""

    field: str
    path: Path | None = None
    data: Sequence[Any] | None = None
    encoding: str | None = None

    @property
    def name(self) -> str:
        """What messages and summaries call it."""
        return self.path.name if self.path is not None else self.field.removeprefix("/")


def load_document(source: Source) -> Document:
    """Read subtitles as they stand. Raises SubtitleFault (SUBTITLE_UNREADABLE)."""
    try:
        if source.path is not None:
            return read_document(source.path, source.encoding)
        return Document(from_json(list(source.data or ())), "json", "utf-8", 0)
    except (Unreadable, NotATranscript) as error:
        raise SubtitleFault(
            FaultCode.SUBTITLE_UNREADABLE, f"{source.name} cannot be read: {error}", source.field
        ) from None


def load_cues(source: Source) -> list[Cue]:
    """Read what is said, in order of time; cues without text or duration are left out.

    Raises SubtitleFault: SUBTITLE_UNREADABLE or SUBTITLE_EMPTY.
    """
    cues = [cue for cue in load_document(source).cues if cue.plain and cue.end > cue.start >= 0]
    if not cues:
        raise SubtitleFault(FaultCode.SUBTITLE_EMPTY, f"{source.name} has nothing that is said", source.field)
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def load_turns(source: Source) -> Turns:
    """Read who speaks when. Raises SubtitleFault: SPEAKERS_UNREADABLE or SPEAKERS_EMPTY."""
    try:
        document = (
            orjson.loads(source.path.read_bytes()) if source.path is not None else list(source.data or ())
        )
        turns = turns_from_json(document)
    except (orjson.JSONDecodeError, NotATranscript) as error:
        message = f"{source.name} is no diarization result: {error}"
        raise SubtitleFault(FaultCode.SPEAKERS_UNREADABLE, message, source.field) from None
    if not turns:
        raise SubtitleFault(FaultCode.SPEAKERS_EMPTY, f"nobody speaks in {source.name}", source.field)
    return Turns(turns)


def need_words(cues: Sequence[Cue], source: Source) -> None:
    """Refuse a transcript without a single word time. Raises SubtitleFault (NO_WORD_TIMES)."""
    if not any(cue.words for cue in cues):
        raise SubtitleFault(
            FaultCode.NO_WORD_TIMES,
            f"{source.name} has no word times; transcribe with word_timestamps, or use wservice.merge_speaker_segments",
            source.field,
        )


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file, indented for people."""
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
