"""The merge tasks' work: read transcript and speakers, merge by one rule, write the result. Runs in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.subtitle.sources import Source, load_cues, load_turns, need_words, write_json
from services.subtitle.speaker_merge import TurnText, merge_by_segment, merge_by_turn, merge_by_word
from services.subtitle.tts_segments import SpeechLengths, prepare
from subtitles.cue import Cue
from subtitles.transcript import to_entries


@dataclass(frozen=True)
class Merged:
    """What came of a merge: entries as they are in the file, and what went in."""

    entries: list[dict[str, Any]]
    transcript_segments: int
    speaker_segments: int


def merge_segments(transcript: Source, speakers: Source, target: Path, max_gap: float) -> Merged:
    """Merge by segment (see `speaker_merge.merge_by_segment`)."""
    cues, turns = load_cues(transcript), load_turns(speakers)
    entries = [
        _spoken_entry(cue, number) for number, cue in enumerate(merge_by_segment(cues, turns, max_gap), 1)
    ]
    write_json(target, {"merged_segments": entries})
    return Merged(entries, len(cues), len(turns))


def merge_words(transcript: Source, speakers: Source, target: Path, *, nearest: bool) -> Merged:
    """Merge by word (see `speaker_merge.merge_by_word`). Raises SubtitleFault (NO_WORD_TIMES)."""
    cues, turns = load_cues(transcript), load_turns(speakers)
    need_words(cues, transcript)
    entries = [
        _spoken_entry(cue, number)
        for number, cue in enumerate(merge_by_word(cues, turns, nearest=nearest), 1)
    ]
    write_json(target, {"merged_segments": entries})
    return Merged(entries, len(cues), len(turns))


def merge_turns(
    transcript: Source, speakers: Source, target: Path, overlap_threshold: float, *, keep_all: bool
) -> Merged:
    """Merge by turn (see `speaker_merge.merge_by_turn`). Raises SubtitleFault (NO_WORD_TIMES)."""
    cues, turns = load_cues(transcript), load_turns(speakers)
    need_words(cues, transcript)
    texts = merge_by_turn(cues, turns, overlap_threshold, keep_all=keep_all)
    entries = [_turn_entry(text, number) for number, text in enumerate(texts, 1)]
    write_json(target, {"merged_segments": entries})
    return Merged(entries, len(cues), len(turns))


def prepare_segments(
    source: Source, target: Path, lengths: SpeechLengths
) -> tuple[list[dict[str, Any]], int]:
    """Return segments to speak, and how many came in (see `tts_segments.prepare`)."""
    cues = load_cues(source)
    entries = [{"speaker": None, "words": [], **entry} for entry in to_entries(prepare(cues, lengths))]
    write_json(target, {"prepared_segments": entries})
    return entries, len(cues)


def _spoken_entry(cue: Cue, number: int) -> dict[str, Any]:
    (entry,) = to_entries([cue], number)
    entry["speaker_confidence"] = entry.pop("confidence", None)
    return entry


def _turn_entry(text: TurnText, number: int) -> dict[str, Any]:
    turn = text.turn
    return {
        "id": number,
        "start": turn.start,
        "end": turn.end,
        "duration": round(turn.end - turn.start, 6),
        "speaker": turn.speaker,
        "text": text.text,
        "word_count": len(text.words),
        "words": [word.to_json() for word in text.words],
        "speaker_confidence": 1.0,
        "match_quality": {
            "matched_words": len(text.words),
            "total_words_in_range": text.in_range,
            "coverage_ratio": round(text.coverage, 3),
            "partial_overlaps": text.in_range - text.full,
            "full_matches": text.full,
        },
    }
