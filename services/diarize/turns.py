"""Who spoke when: turns, the speakers they belong to, and the sums that clients ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Turn(NamedTuple):
    """One stretch of speech of one speaker, in seconds on the recording's clock."""

    start: float
    end: float
    speaker: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class SpeakerSum:
    """What one speaker's turns come to."""

    segments: int
    duration: float
    """Seconds, overlapped speech counted in full."""


@dataclass(frozen=True)
class Diarization:
    """The answer of an engine."""

    turns: tuple[Turn, ...]
    """In order of start; turns of two speakers may overlap."""
    exclusive: tuple[Turn, ...]
    """The same speech with one speaker at a time, which is what words are assigned by."""
    embeddings: dict[str, list[float]] = field(default_factory=dict)
    """One unit vector for each speaker; vectors of one engine can be compared by their dot product. Empty: the engine has none."""

    @property
    def speakers(self) -> list[str]:
        """The speakers in order of their names, which is the order in which they are first heard."""
        return sorted({turn.speaker for turn in self.turns})


def label(number: int) -> str:
    """Return the name of the speaker that is heard as the `number`-th, from 0."""
    return f"SPEAKER_{number:02d}"


def named_by_appearance(turns: Sequence[Turn]) -> tuple[list[Turn], dict[str, str]]:
    """Return the turns with speakers renamed in order of appearance, and the new name of each old one."""
    names: dict[str, str] = {}
    for turn in sorted(turns):
        names.setdefault(turn.speaker, label(len(names)))
    return sorted(turn._replace(speaker=names[turn.speaker]) for turn in turns), names


def sums(turns: Iterable[Turn]) -> dict[str, SpeakerSum]:
    """Return each speaker's sum, in the order of names."""
    found: dict[str, SpeakerSum] = {}
    for turn in turns:
        before = found.get(turn.speaker, SpeakerSum(0, 0.0))
        found[turn.speaker] = SpeakerSum(before.segments + 1, before.duration + turn.duration)
    return dict(sorted(found.items()))


def summary(turns: Sequence[Turn]) -> str:
    """Return one English sentence for people."""
    by_speaker = sums(turns)
    if not by_speaker:
        return "no speech was found"
    parts = ", ".join(
        f"{name}: {one.segments} segments, {one.duration:.1f} s" for name, one in by_speaker.items()
    )
    speakers = "1 speaker" if len(by_speaker) == 1 else f"{len(by_speaker)} speakers"
    return f"{speakers}, {len(turns)} segments ({parts})"
