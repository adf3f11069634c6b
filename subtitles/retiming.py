"""Cues moved in time as a whole: by an offset, a rate, or from one frame rate to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from subtitles.cue import Cue


@dataclass(frozen=True)
class Retiming:
    """New time = time × rate + offset."""

    rate: float = 1.0
    """Above zero; 25 / 23.976 for subtitles that were made for 25 frames a second and are shown at 23.976."""
    offset_seconds: float = 0.0

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return self.rate == 1.0 and self.offset_seconds == 0.0

    def at(self, seconds: float) -> float:
        """Return where a time goes, in whole milliseconds."""
        return round(seconds * self.rate + self.offset_seconds, 3)


def retime(cues: Iterable[Cue], retiming: Retiming) -> list[Cue]:
    """Return cues at their new times, words too. Times may become negative: `fixes` says what then."""
    if retiming.identity:
        return list(cues)
    at = retiming.at
    return [
        replace(
            cue,
            start=at(cue.start),
            end=at(cue.end),
            words=tuple(replace(word, start=at(word.start), end=at(word.end)) for word in cue.words),
        )
        for cue in cues
    ]
