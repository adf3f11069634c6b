"""A transcript as files: the origin's JSON, subtitles that people can read, text, tables. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from services.asr.transcript import Segment
from subtitles.cue import Cue, Word
from subtitles.measure import Limits, is_cjk, limits_for
from subtitles.segmentation import segment as to_cues
from subtitles.timing import settle
from subtitles.writing import AssStyle, to_ass, to_srt, to_txt, to_vtt


@dataclass(frozen=True)
class Writing:
    """Which files to write, and how."""

    base: str
    """Name without extension."""
    json_name: str
    forms: tuple[str, ...]
    words: bool
    metadata: dict[str, Any]
    statistics: dict[str, Any]
    duration: float
    line_width: int | None = None
    line_count: int = 2


def write_files(segments: Sequence[Segment], folder: Path, writing: Writing) -> dict[str, Path]:
    """Write a transcript in every form asked for, and always as JSON; returns the files by form."""
    files = {"json": folder / writing.json_name}
    files["json"].write_bytes(
        orjson.dumps(
            {
                "metadata": writing.metadata,
                "segments": [
                    segment.to_json(number, words=writing.words) for number, segment in enumerate(segments)
                ],
                "statistics": writing.statistics,
            },
            option=orjson.OPT_INDENT_2,
        )
    )
    cues = [to_cue(segment) for segment in segments]
    readable = _readable(cues, writing) if {"srt", "vtt", "ass"} & set(writing.forms) else []
    texts = {
        "txt": lambda: to_txt(cues, speakers=True),
        "tsv": lambda: to_tsv(segments),
        "srt": lambda: to_srt(readable, speakers=True),
        "vtt": lambda: to_vtt(readable, speakers=True),
        "ass": lambda: to_ass(readable, AssStyle(karaoke=True)),
    }
    for form in dict.fromkeys(writing.forms):
        if form != "json":
            files[form] = folder / f"{writing.base}.{form}"
            files[form].write_text(texts[form](), encoding="utf-8")
    return files


def _readable(cues: Sequence[Cue], writing: Writing) -> list[Cue]:
    """Return cues within the lines that a reader bears, shown as long as they need."""
    limits: Limits = replace(limits_for(cue.plain for cue in cues), lines=writing.line_count)
    if writing.line_width is not None:
        limits = replace(limits, line_columns=float(writing.line_width))
    cjk = is_cjk("".join(cue.plain for cue in cues))
    # What a channel says is cut by itself: two who speak at once would be cut at every word.
    speakers = dict.fromkeys(cue.speaker for cue in cues)
    parts = [to_cues([cue for cue in cues if cue.speaker == speaker], limits) for speaker in speakers]
    settled = [settle(part, limits, cjk=cjk, end_seconds=writing.duration) for part in parts]
    return sorted((cue for part in settled for cue in part), key=lambda cue: cue.start)


def to_cue(segment: Segment) -> Cue:
    """Return a segment as the subtitles room has it."""
    return Cue(
        segment.start,
        segment.end,
        segment.text,
        speaker=segment.speaker,
        words=tuple(
            Word(word.start, word.end, word.text, word.probability, segment.speaker) for word in segment.words
        ),
    )


def to_tsv(segments: Sequence[Segment]) -> str:
    """Return a table with a header: start and end in milliseconds, text (Whisper's own form)."""
    rows = (
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{' '.join(segment.text.split())}\n"
        for segment in segments
    )
    return f"start\tend\ttext\n{''.join(rows)}"
