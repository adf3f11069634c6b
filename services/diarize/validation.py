"""The origin system's checks of a diarization result: what a person should look at before it is used."""

from __future__ import annotations

from dataclasses import dataclass

from services.diarize.result_file import DiarizationFile
from services.diarize.turns import summary

SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
MOST_SPEAKERS = 10
_EXAMPLES = 3


@dataclass(frozen=True)
class Validation:
    """What the checks say."""

    valid: bool
    """False as soon as there is an issue."""
    total_segments: int
    total_speakers: int
    total_duration: float
    """Seconds of all segments together."""
    avg_segment_duration: float
    issues: tuple[str, ...]
    summary: str


def validate(result: DiarizationFile) -> Validation:
    """Check a result: no segments, segments under 0.5 s or over 30 s, no or over 10 speakers, fewer speakers than declared."""
    turns = result.turns
    speakers = len({turn.speaker for turn in turns})
    issues = [] if turns else ["there are no segments"]
    short = [turn.start for turn in turns if turn.duration < SHORTEST_SECONDS]
    long = [turn.start for turn in turns if turn.duration > LONGEST_SECONDS]
    if short:
        issues.append(f"{len(short)} segments are shorter than {SHORTEST_SECONDS} s ({_places(short)})")
    if long:
        issues.append(f"{len(long)} segments are longer than {LONGEST_SECONDS:.0f} s ({_places(long)})")
    if not speakers:
        issues.append("there are no speakers")
    if speakers > MOST_SPEAKERS:
        issues.append(f"{speakers} speakers are more than {MOST_SPEAKERS}: some may be one person")
    if speakers < result.declared_speakers:
        issues.append(f"{result.declared_speakers} speakers are declared and {speakers} have segments")
    total = sum(turn.duration for turn in turns)
    return Validation(
        valid=not issues,
        total_segments=len(turns),
        total_speakers=speakers,
        total_duration=round(total, 3),
        avg_segment_duration=round(total / len(turns), 3) if turns else 0.0,
        issues=tuple(issues),
        summary=summary(turns),
    )


def _places(starts: list[float]) -> str:
    shown = ", ".join(f"at {start:.1f} s" for start in starts[:_EXAMPLES])
    return f"{shown}, …" if len(starts) > _EXAMPLES else shown
