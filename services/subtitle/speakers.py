"""Who speaks when: the turns that diarization found."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from subtitles.transcript import NotATranscript, from_json

UNKNOWN_SPEAKER = "SPEAKER_00"
"""The origin system's name for a speaker that nobody told apart."""
_LISTS = ("speaker_segments", "speaker_enhanced_segments", "diarization", "turns", "segments")


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch in which one person speaks, in seconds."""

    start: float
    end: float
    speaker: str


def turns_from_json(document: Any) -> list[Turn]:
    """Return the turns of a diarization result, in order. Raises NotATranscript."""
    if isinstance(document, Mapping):
        inner = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
        if inner is None:
            raise NotATranscript(f"it has no list named {', '.join(_LISTS)}")
        document = inner
    turns = []
    for cue, entry in zip(from_json(document), document, strict=True):
        speaker = entry.get("speaker") or entry.get("label")
        if speaker is None:
            raise NotATranscript("a segment names no speaker")
        if cue.end > cue.start:
            turns.append(Turn(cue.start, cue.end, str(speaker)))
    return sorted(turns, key=lambda turn: (turn.start, turn.end))


class Turns:
    """Turns by time: what of them lies in a span is found without looking at the others."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns: Sequence[Turn] = sorted(turns, key=lambda turn: turn.start)
        self._starts = [turn.start for turn in self._turns]
        # Turns overlap, so the ends are not in order; the largest end so far is.
        self._reach = list(accumulate((turn.end for turn in self._turns), max))

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def __len__(self) -> int:
        return len(self._turns)

    def within(self, start: float, end: float) -> list[Turn]:
        """Return the turns that share time with a span, in order of their start."""
        first, last = bisect_right(self._reach, start), bisect_left(self._starts, end)
        return [turn for turn in self._turns[first:last] if turn.end > start]

    def at(self, instant: float) -> Turn | None:
        """Return the turn that an instant lies in; of several the one that began last, as that person has taken over."""
        found = [turn for turn in self.within(instant, instant + 1e-9) if turn.start <= instant < turn.end]
        return found[-1] if found else None

    def nearest(self, instant: float, within_seconds: float) -> Turn | None:
        """Return the turn that is nearest to an instant, if one is as near as that."""
        close = self.within(instant - within_seconds, instant + within_seconds)
        return min(close, key=lambda turn: max(turn.start - instant, instant - turn.end, 0.0), default=None)


def overlap(first_start: float, first_end: float, second_start: float, second_end: float) -> float:
    """Return the seconds that two spans share."""
    return max(0.0, min(first_end, second_end) - max(first_start, second_start))
