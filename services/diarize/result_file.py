"""The diarization result on disk: the origin system's JSON with what is new beside it, or RTTM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.diarize.faults import DiarizationFault, FaultCode
from services.diarize.rttm import NotRttm, from_rttm
from services.diarize.turns import Diarization, Turn, sums


@dataclass(frozen=True)
class DiarizationFile:
    """What a result file says."""

    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...]
    """One speaker at a time; the turns themselves where the file does not have it."""
    declared_speakers: int
    """Number of speakers by the file's head; where it has none, as many as its turns have."""


def to_document(
    found: Diarization, segments: Sequence[Turn], audio_path: str, metadata: dict[str, Any]
) -> dict[str, Any]:
    """Return the JSON document."""
    return {
        "success": True,
        "audio_path": audio_path,
        "total_speakers": len(found.speakers),
        "segments": [to_segment(turn) for turn in segments],
        "exclusive_segments": [to_segment(turn) for turn in found.exclusive],
        "speaker_statistics": {
            name: {"segments": one.segments, "duration": round(one.duration, 3), "words": 0}
            for name, one in sums(segments).items()
        },
        "metadata": metadata,
    }


def to_segment(turn: Turn) -> dict[str, Any]:
    """Return a turn as the origin's files have it."""
    return {
        "start": turn.start,
        "end": turn.end,
        "speaker": turn.speaker,
        "duration": round(turn.duration, 3),
    }


def read_result(path: Path, field: str, recording: str = "") -> DiarizationFile:
    """Read a result, JSON or RTTM; `recording` chooses among those of an RTTM.

    Raises DiarizationFault: DIARIZATION_UNREADABLE, DIARIZATION_FAILED, REFERENCE_AMBIGUOUS.
    """
    try:
        body = path.read_bytes()
        if not body.lstrip().startswith((b"{", b"[")):
            return _from_rttm(body.decode("utf-8"), field, recording)
        document = orjson.loads(body)
        if isinstance(document, list):
            document = {"segments": document}
        if document.get("success") is False:
            said = str(document.get("error", {}).get("message", "no reason is given"))
            raise DiarizationFault(FaultCode.DIARIZATION_FAILED, f"it failed: {said}", field)
        turns = _turns(document["segments"])
        exclusive = _turns(document["exclusive_segments"]) if "exclusive_segments" in document else turns
        declared = document.get("total_speakers", len({turn.speaker for turn in turns}))
        return DiarizationFile(turns, exclusive, int(declared))
    except (
        orjson.JSONDecodeError,
        NotRttm,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise DiarizationFault(
            FaultCode.DIARIZATION_UNREADABLE, f"{path.name} is no diarization result: {error}", field
        ) from None


def _turns(segments: Sequence[dict[str, Any]]) -> tuple[Turn, ...]:
    turns = [Turn(float(one["start"]), float(one["end"]), str(one["speaker"])) for one in segments]
    if any(not 0 <= turn.start <= turn.end < 1e9 for turn in turns):
        raise ValueError("a segment ends before it starts")
    return tuple(sorted(turns))


def _from_rttm(text: str, field: str, recording: str) -> DiarizationFile:
    recordings = from_rttm(text)
    if not recordings:
        raise NotRttm("it has no line that begins with SPEAKER")
    if recording not in recordings and len(recordings) > 1:
        names = ", ".join(sorted(recordings)[:10])
        raise DiarizationFault(FaultCode.REFERENCE_AMBIGUOUS, f"it has several recordings: {names}", field)
    turns = tuple(recordings.get(recording) or next(iter(recordings.values())))
    return DiarizationFile(turns, turns, len({turn.speaker for turn in turns}))
