"""split_info.json: what a split wrote, in the shape that readers of the origin system know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from services.ffmpeg.segments import Segment, Split, SplitOptions

UNKNOWN_SPEAKER = "UNKNOWN"


@dataclass(frozen=True)
class SpeakerShare:
    """What one speaker's segments come to."""

    count: int
    duration: float
    """Seconds."""
    files: tuple[str, ...]


def split_info(
    split: Split, options: SplitOptions, folder: Path, output_directory: str, created_time: datetime
) -> dict[str, Any]:
    """Return the document; `file_path` is relative to the folder in which the document itself lies."""
    written = split.written
    total = len(written) + split.failed_count
    seconds = sum(_seconds(segment, options) for segment in written)
    document: dict[str, Any] = {
        "metadata": {
            "total_segments": total,
            "successful_segments": len(written),
            "failed_segments": split.failed_count,
            "dropped_short_segments": split.plan.dropped_short,
            "success_rate": round(len(written) / total, 4),
            "total_duration": round(seconds, 3),
            "processing_time": round(split.processing_seconds, 3),
            "processing_speed": round(seconds / max(split.processing_seconds, 1e-3), 2),
            "audio_format": options.output_format,
            "sample_rate": options.sample_rate,
            "channels": options.channels,
            "split_by": options.rules.by.value,
            "output_directory": output_directory,
            "created_at": created_time.isoformat(),
        },
        "segments": [_entry(segment, options, folder) for segment in written],
        "failures": [
            *(_failure(segment) for segment in split.segments if segment.path is None),
            *(
                {"start_time": cue.start, "end_time": cue.end, "text": cue.text, "reason": "behind the end"}
                for cue in split.plan.outside
            ),
        ],
    }
    if options.by_speaker:
        document["speaker_groups"] = {
            speaker: {"count": share.count, "duration": share.duration, "files": list(share.files)}
            for speaker, share in speaker_shares(split, options, folder).items()
        }
    return document


def speaker_shares(split: Split, options: SplitOptions, folder: Path) -> dict[str, SpeakerShare]:
    """Return each speaker's share; empty when no segment has a speaker and none are grouped."""
    if not options.by_speaker and not any(segment.file.cut.cue.speaker for segment in split.written):
        return {}
    grouped: dict[str, list[Segment]] = {}
    for segment in split.written:
        grouped.setdefault(segment.file.cut.cue.speaker or UNKNOWN_SPEAKER, []).append(segment)
    return {
        speaker: SpeakerShare(
            count=len(segments),
            duration=round(sum(_seconds(segment, options) for segment in segments), 3),
            files=tuple(_relative(segment, folder) for segment in segments),
        )
        for speaker, segments in sorted(grouped.items())
    }


def speaker_summary(split: Split, options: SplitOptions, folder: Path) -> dict[str, dict[str, Any]]:
    """Return {speaker: {count, duration}} for the task's output."""
    return {
        speaker: {"count": share.count, "duration": share.duration}
        for speaker, share in speaker_shares(split, options, folder).items()
    }


def _entry(segment: Segment, options: SplitOptions, folder: Path) -> dict[str, Any]:
    assert segment.path is not None
    cut, cue = segment.file.cut, segment.file.cut.cue
    entry: dict[str, Any] = {
        "id": segment.file.id,
        "start_time": round(cut.start, 3),
        "end_time": round(cut.end, 3),
        "duration": round(_seconds(segment, options), 6),
        "text": cue.text,
        "file_path": _relative(segment, folder),
        "file_size": segment.path.stat().st_size,
        "rms_db": segment.file.rms_db,
    }
    optional = {
        "speaker": cue.speaker,
        "confidence": cue.confidence,
        "words": list(cue.words) if cue.words else None,
    }
    entry |= {name: value for name, value in optional.items() if value is not None}
    if cut.parts > 1:
        entry |= {"part": cut.part, "parts": cut.parts}
    return entry


def _failure(segment: Segment) -> dict[str, Any]:
    cut = segment.file.cut
    return {
        "start_time": round(cut.start, 3),
        "end_time": round(cut.end, 3),
        "text": cut.cue.text,
        "reason": "could not be encoded",
    }


def _seconds(segment: Segment, options: SplitOptions) -> float:
    return segment.file.frames / options.sample_rate


def _relative(segment: Segment, folder: Path) -> str:
    assert segment.path is not None
    return segment.path.relative_to(folder).as_posix()
