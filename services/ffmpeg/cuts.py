"""The plan of a split: which stretches of a recording become segments, none too short and none too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from services.ffmpeg.silences import SilenceRule, SoundProfile
from services.ffmpeg.subtitle_times import Cue

_SEARCHED_SHARE = 0.25
"""A cut in a long stretch is looked for in this last part of what may be kept."""


class SplitBy(StrEnum):
    """What says where to cut."""

    SUBTITLES = "subtitles"
    SILENCE = "silence"
    FIXED = "fixed"
    SEGMENTS = "segments"


@dataclass(frozen=True)
class CutRules:
    """How stretches become segments; all times in seconds."""

    by: SplitBy = SplitBy.SUBTITLES
    min_segment_seconds: float = 1.0
    max_segment_seconds: float = 30.0
    keep_short: bool = False
    pad_seconds: float = 0.0
    """Added on both sides of a cue or given segment."""
    fixed_seconds: float = 30.0
    silence: SilenceRule = field(default_factory=SilenceRule)


@dataclass(frozen=True)
class Cut:
    """One segment to be."""

    cue: Cue
    """Where it comes from: text, speaker, words."""
    start: float
    end: float
    part: int = 1
    parts: int = 1
    """A cue longer than the longest segment becomes several parts."""


@dataclass(frozen=True)
class Plan:
    """All segments to be, in order, and what became of the rest."""

    cuts: tuple[Cut, ...]
    outside: tuple[Cue, ...]
    """Cues that begin after the recording has ended."""
    dropped_short: int


def plan_cuts(cues: Iterable[Cue], profile: SoundProfile, rules: CutRules) -> Plan:
    """Decide what to cut; `cues` are only looked at when the rules go by subtitles or given segments."""
    duration = profile.duration_seconds
    cuts: list[Cut] = []
    outside: list[Cue] = []
    dropped = 0
    for cue in _stretches(cues, profile, rules):
        start = max(0.0, cue.start - rules.pad_seconds)
        end = min(duration, cue.end + rules.pad_seconds)
        if start >= end:
            outside.append(cue)
        elif end - start < rules.min_segment_seconds and not rules.keep_short:
            dropped += 1
        else:
            cuts.extend(_parts(cue, start, end, profile, rules))
    return Plan(tuple(cuts), tuple(outside), dropped)


def _stretches(cues: Iterable[Cue], profile: SoundProfile, rules: CutRules) -> Iterator[Cue]:
    if rules.by is SplitBy.SILENCE:
        for start, end in profile.sounding(rules.silence):
            yield Cue(start, end)
    elif rules.by is SplitBy.FIXED:
        number = 0
        while number * rules.fixed_seconds < profile.duration_seconds:
            start = number * rules.fixed_seconds
            yield Cue(start, min(start + rules.fixed_seconds, profile.duration_seconds))
            number += 1
    else:
        yield from cues


def _parts(cue: Cue, start: float, end: float, profile: SoundProfile, rules: CutRules) -> Iterator[Cut]:
    """Cut a stretch into parts of at most the longest duration, where it is quietest, losing nothing."""
    longest = rules.max_segment_seconds
    edges = [start]
    while end - edges[-1] > longest + 1e-6:
        latest = edges[-1] + longest
        # The rest must not become a crumb that no one can use.
        if end - latest < rules.min_segment_seconds:
            latest = max(edges[-1] + longest / 2, end - rules.min_segment_seconds)
        found = profile.quietest(latest - longest * _SEARCHED_SHARE, latest)
        edges.append(found if edges[-1] < found <= latest else latest)
    edges.append(end)
    parts = len(edges) - 1
    for part in range(parts):
        yield Cut(cue, edges[part], edges[part + 1], part + 1, parts)
