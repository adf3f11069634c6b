"""Change: one thing that a fix did to one cue, so that a person can see and undo it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from subtitles.cue import Cue


class Kind(StrEnum):
    """What a fix can do. The names are stable: clients count by them."""

    REORDERED = "reordered"
    NEGATIVE_TIME = "negative_time"
    ABSURD_TIME = "absurd_time"
    """A time minutes away from where the file's order puts it: placed between its neighbours."""
    NO_DURATION = "no_duration"
    OVERLAP = "overlap"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    DUPLICATE = "duplicate"
    EMPTY = "empty"
    FRAGMENT = "fragment"
    """One or two letters by themselves, joined to the cue that they belong to."""
    WIDTH = "width"
    """Full-width letters and digits, or half-width punctuation in Chinese or Japanese."""
    SPACES = "spaces"
    ENTITY = "entity"
    CONTROL = "control"
    SCRIPT = "script"
    """Traditional Chinese to simplified, or back."""
    TYPO = "typo"
    LINES = "lines"


@dataclass(frozen=True)
class Change:
    """One change; `place` is the cue's number in the file that came in, from 1."""

    place: int
    kind: Kind
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """Return it as reports have it."""
        return {"id": self.place, "kind": self.kind.value, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Numbered:
    """A cue with its number in the file that came in."""

    place: int
    cue: Cue


def numbered(cues: Iterable[Cue]) -> list[Numbered]:
    """Number cues from 1."""
    return [Numbered(place, cue) for place, cue in enumerate(cues, 1)]


def count_changes(changes: Iterable[Change]) -> dict[str, int]:
    """Return how many changes there are of each kind that there is."""
    return dict(sorted(Counter(change.kind.value for change in changes).items()))


def span(cue: Cue) -> str:
    """Return a cue's times for a report."""
    return f"{cue.start:.3f}–{cue.end:.3f}"
