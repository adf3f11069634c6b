"""Who said each word: words of a transcript and turns of a diarization brought together, with nothing lost.

A word belongs to the speaker whose turns cover most of it; one that no turn covers goes to the nearest turn, if that is near
enough. It works on turns of which one is at a time, so that a word cannot belong to two.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.diarize.turns import Turn


@dataclass(frozen=True)
class Assigned:
    """A transcript whose words have speakers."""

    segments: list[dict[str, Any]]
    """The segments as they were, each with `speaker`, and with `speaker` in each word; null: nobody is near."""
    words: int
    unassigned: int
    """Words without a speaker."""
    changes: int
    """Segments in which more than one speaker has words."""


class SpokenTurns:
    """Turns, ready to be asked about."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns)
        self._ends: list[float] = []
        for turn in self._turns:
            self._ends.append(max(turn.end, self._ends[-1]) if self._ends else turn.end)

    def speaker(self, start: float, end: float, max_gap: float) -> str | None:
        """Return whose most of the time from `start` to `end` is, else who is at most `max_gap` seconds away; None: nobody."""
        covered: dict[str, float] = {}
        nearest: tuple[float, str] | None = None
        for turn in self._turns[bisect_left(self._ends, start - max_gap) :]:
            if turn.start > end + max_gap:
                break
            both = min(end, turn.end) - max(start, turn.start)
            if both > 0 or (start == end and both == 0):
                covered[turn.speaker] = covered.get(turn.speaker, 0.0) + max(both, 1e-9)
            elif -both <= max_gap and (nearest is None or -both < nearest[0]):
                nearest = (-both, turn.speaker)
        if covered:
            return max(covered, key=lambda speaker: covered[speaker])
        return nearest[1] if nearest else None


def assign_speakers(
    segments: Sequence[dict[str, Any]], turns: Sequence[Turn], max_gap: float = 1.0
) -> Assigned:
    """Give each word and each segment of a transcript its speaker.

    Segments are `{start, end, words?: [{start, end, ...}], ...}`; a segment without words counts as one word. A segment's speaker
    is the one who has most of its words' time. Raises KeyError, TypeError or ValueError when a segment has no times.
    """
    spoken = SpokenTurns(turns)
    told: list[dict[str, Any]] = []
    words = unassigned = changes = 0
    for segment in segments:
        start, end = float(segment["start"]), float(segment["end"])
        own = [dict(word) for word in segment.get("words") or ()]
        seconds: dict[str, float] = {}
        for word in own:
            first = float(word["start"] if word.get("start") is not None else start)
            last = float(word["end"] if word.get("end") is not None else first)
            word["speaker"] = spoken.speaker(first, last, max_gap)
            if word["speaker"] is not None:
                seconds[word["speaker"]] = seconds.get(word["speaker"], 0.0) + max(last - first, 1e-3)
        if not own:
            speaker = spoken.speaker(start, end, max_gap)
            seconds = {speaker: 1.0} if speaker is not None else {}
        words += max(len(own), 1)
        unassigned += sum(word["speaker"] is None for word in own) if own else not seconds
        changes += len(seconds) > 1
        speaker = max(seconds, key=lambda name: seconds[name]) if seconds else None
        told.append({**segment, "speaker": speaker, **({"words": own} if own else {})})
    return Assigned(told, words, unassigned, changes)
