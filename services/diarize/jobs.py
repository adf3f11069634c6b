"""What workers do for the tasks: files in, files and figures out, so that no recording or long list travels between processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.diarize.engine import Engine, Step, Wanted
from services.diarize.faults import DiarizationFault, FaultCode
from services.diarize.notes import Notes
from services.diarize.result_file import read_result, to_document, to_segment
from services.diarize.rttm import to_rttm
from services.diarize.score import DiarizationScore, score
from services.diarize.sound import Sound
from services.diarize.turns import SpeakerSum, Turn, summary, sums
from services.diarize.validation import Validation, validate
from services.diarize.word_speakers import assign_speakers

MAX_LISTED = 5_000


@dataclass(frozen=True)
class Job:
    """One recording, and where the results go."""

    wave: Path
    audio_path: str
    """What the results call the recording."""
    exclusive: bool
    wanted: Wanted
    result: Path
    rttm: Path
    embeddings: Path
    notes: Path
    """Folder of what engines leave for a process that takes their place."""


@dataclass(frozen=True)
class Outcome:
    """What came out."""

    speakers: dict[str, SpeakerSum]
    segments: int
    summary: str
    engine: str
    model: str
    device: str
    seconds: float
    """Time of the work."""
    audio_seconds: float
    has_embeddings: bool


def diarize(engine: Engine, job: Job) -> Iterator[Step | Outcome]:
    """Find the speakers of a recording and write what was found; yields steps, and last the outcome."""
    began = time.monotonic()
    sound = Sound(job.wave)
    found = None
    for item in engine.diarize(sound, job.wanted, Notes(job.notes)):
        if isinstance(item, Step):
            yield item
        else:
            found = item
    assert found is not None, "an engine ends with its answer"
    segments = found.exclusive if job.exclusive else found.turns
    seconds = time.monotonic() - began
    metadata = {
        "model": engine.model,
        "engine": engine.name,
        "api_type": "free",
        "processing_time": round(seconds, 3),
        "total_time": round(seconds, 3),
        "audio_duration": round(sound.seconds, 3),
    }
    job.result.write_bytes(
        orjson.dumps(to_document(found, segments, job.audio_path, metadata), option=orjson.OPT_INDENT_2)
    )
    job.rttm.write_text(to_rttm(segments, job.wave.stem), encoding="utf-8")
    if found.embeddings:
        body = {"engine": engine.name, "model": engine.model, "speakers": found.embeddings}
        job.embeddings.write_bytes(orjson.dumps(body))
    yield Outcome(
        speakers=sums(segments),
        segments=len(segments),
        summary=summary(segments),
        engine=engine.name,
        model=engine.model,
        device=engine.device,
        seconds=seconds,
        audio_seconds=sound.seconds,
        has_embeddings=bool(found.embeddings),
    )


def speaker_segments(path: Path, speaker: str | None) -> dict[str, Any]:
    """Return the fields of GetSpeakerSegmentsOutput. Raises DiarizationFault."""
    turns: list[Turn] = list(read_result(path, "/diarization_file").turns)
    if speaker is not None:
        turns = [turn for turn in turns if turn.speaker == speaker]
    return {
        "segments": [to_segment(turn) for turn in turns[:MAX_LISTED]],
        "summary": summary(turns),
        "total_segments": len(turns),
        "speaker_filter": speaker,
        "speaker_statistics": None
        if speaker is not None
        else {name: one.segments for name, one in sums(turns).items()},
    }


def check(
    path: Path, reference: Path | None, recording: str, collar: float
) -> tuple[Validation, DiarizationScore | None]:
    """Check a result, and score it where there is a reference. Raises DiarizationFault."""
    result = read_result(path, "/diarization_file", recording)
    if reference is None:
        return validate(result), None
    truth = read_result(reference, "/reference_file", recording)
    return validate(result), score(truth.turns, result.turns, collar_seconds=collar)


def assign(transcript: Path, diarization: Path, target: Path, max_gap: float) -> dict[str, Any]:
    """Write the transcript with speakers; return the other fields of AssignSpeakersOutput. Raises DiarizationFault."""
    turns = read_result(diarization, "/diarization_file").exclusive
    try:
        document = orjson.loads(transcript.read_bytes())
        if isinstance(document, list):
            document = {"segments": document}
        assigned = assign_speakers(document["segments"], turns, max_gap)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DiarizationFault(
            FaultCode.TRANSCRIPT_UNREADABLE,
            f"{transcript.name} is no transcript with timed segments: {error}",
            "/segments_file",
        ) from None
    target.write_bytes(orjson.dumps({**document, "segments": assigned.segments}, option=orjson.OPT_INDENT_2))
    counts: dict[str, int] = {}
    for segment in assigned.segments:
        for word in segment.get("words") or (segment,):
            if word["speaker"] is not None:
                counts[word["speaker"]] = counts.get(word["speaker"], 0) + 1
    return {
        "total_segments": len(assigned.segments),
        "total_words": assigned.words,
        "unassigned_words": assigned.unassigned,
        "segments_with_changes": assigned.changes,
        "speaker_word_counts": dict(sorted(counts.items())),
    }
