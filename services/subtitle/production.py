"""A transcript made into subtitle files: cut into cues, timed for readers, written in every form asked for. Runs in a worker
process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from services.subtitle.sources import Source, load_cues, load_turns, write_json
from services.subtitle.speaker_merge import merge_by_segment, merge_by_word
from subtitles.clock import format_clock
from subtitles.cue import Cue
from subtitles.measure import Limits, is_cjk, limits_for
from subtitles.readability import count_kinds, find_violations
from subtitles.segmentation import segment
from subtitles.timing import settle
from subtitles.transcript import to_entries
from subtitles.writing import AssStyle, to_ass, to_lrc, to_srt, to_ttml, to_txt, to_vtt


@dataclass(frozen=True)
class Production:
    """What to make of a transcript."""

    base: str
    """File name without extension."""
    forms: tuple[str, ...]
    language: str
    audio_duration: float
    limits: dict[str, float]
    """Overrides of `Limits`' fields."""
    resegment: bool
    """False: the segments become cues as they are."""
    speaker_prefix: bool
    karaoke: bool
    shot_changes: tuple[float, ...]
    style: AssStyle


@dataclass(frozen=True)
class Produced:
    """What was made."""

    files: dict[str, Path]
    """By the origin's names: `basic`, `with_speakers`, `word_timestamps`, `json`; other forms by their extension."""
    cues: int
    duration: float
    violations_before: dict[str, int]
    violations_after: dict[str, int]


def produce(transcript: Source, speakers: Source | None, folder: Path, wanted: Production) -> Produced:
    """Write the files into a folder. Raises SubtitleFault."""
    segments = load_cues(transcript)
    if speakers is not None:
        turns = load_turns(speakers)
        worded = all(cue.words for cue in segments)
        segments = (
            merge_by_word(segments, turns, nearest=True) if worded else merge_by_segment(segments, turns)
        )
    texts = "".join(cue.plain for cue in segments)
    cjk = is_cjk(texts)
    limits = limits_for([texts]).overridden(wanted.limits)
    duration = max(wanted.audio_duration, segments[-1].end)
    cues = segments
    if wanted.resegment:
        cues = settle(
            segment(segments, limits), limits, cjk=cjk, shot_changes=wanted.shot_changes, end_seconds=duration
        )
    files = _write(cues, folder, wanted, duration, transcript.name)
    return Produced(
        files,
        len(cues),
        duration,
        _violations(segments, limits, cjk=cjk),
        _violations(cues, limits, cjk=cjk),
    )


def _violations(cues: Sequence[Cue], limits: Limits, *, cjk: bool) -> dict[str, int]:
    return count_kinds(find_violations(cues, limits, cjk=cjk))


def _write(
    cues: Sequence[Cue], folder: Path, wanted: Production, duration: float, source: str
) -> dict[str, Path]:
    speaking = any(cue.speaker for cue in cues)
    worded = any(cue.words for cue in cues)
    files: dict[str, Path] = {}

    def put(key: str, name: str, text: str) -> None:
        files[key] = folder / name
        files[key].write_text(text, encoding="utf-8")

    put("basic", f"{wanted.base}.srt", to_srt(cues, speakers=wanted.speaker_prefix))
    if speaking:
        put("with_speakers", f"{wanted.base}_with_speakers.srt", to_srt(cues, speakers=True))
    for form, write in _writers(wanted).items():
        if form in wanted.forms:
            put(form, f"{wanted.base}.{form}", write(cues))
    if worded:
        files["word_timestamps"] = folder / f"{wanted.base}_word_timestamps.json"
        write_json(files["word_timestamps"], _word_document(cues))
    files["json"] = folder / f"{wanted.base}_subtitle.json"
    write_json(files["json"], _document(cues, wanted.language, duration, source))
    if speaking:
        files["speaker_json"] = folder / f"{wanted.base}_with_speakers.json"
        write_json(files["speaker_json"], _document(cues, wanted.language, duration, source))
    return files


def _writers(wanted: Production) -> dict[str, Callable[[Sequence[Cue]], str]]:
    speakers = wanted.speaker_prefix
    return {
        "vtt": partial(to_vtt, speakers=True),
        "ass": lambda cues: to_ass(cues, replace(wanted.style, karaoke=wanted.karaoke)),
        "ttml": lambda cues: to_ttml(cues, wanted.language if wanted.language != "unknown" else ""),
        "lrc": to_lrc,
        "txt": partial(to_txt, speakers=speakers),
    }


def _word_document(cues: Sequence[Cue]) -> dict[str, Any]:
    segments = [
        {
            "id": entry["id"],
            "start": entry["start"],
            "end": entry["end"],
            "text": entry["text"],
            "srt_time": f"{format_clock(cue.start)} --> {format_clock(cue.end)}",
            "words": [
                {"word": word.text, "start": word.start, "end": word.end, "confidence": word.probability}
                for word in cue.words
            ],
        }
        for cue, entry in zip(cues, to_entries(cues), strict=True)
    ]
    return {"format": "word_timestamps", "total_segments": len(segments), "segments": segments}


def _document(cues: Sequence[Cue], language: str, duration: float, source: str) -> dict[str, Any]:
    return {
        "format": "yivideo_subtitle",
        "version": "1.0",
        "metadata": {
            "language": language,
            "audio_duration": duration,
            "total_segments": len(cues),
            "has_word_timestamps": any(cue.words for cue in cues),
            "data_source": source,
        },
        "segments": to_entries(cues),
    }
