"""What every diarization engine is: told a recording and what is wanted, it says how far it is and at last who spoke when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from services.diarize.notes import Notes
from services.diarize.sound import Sound
from services.diarize.speakers import SpeakerCount
from services.diarize.turns import Diarization


class Step(NamedTuple):
    """How far an engine is."""

    share: float
    """0 to 1, never less than before."""
    stage: str
    """What it is doing, in a word or two."""


@dataclass(frozen=True)
class Wanted:
    """What a task asks of an engine."""

    count: SpeakerCount = field(default_factory=SpeakerCount)
    min_pause_seconds: float = 0.3
    """A shorter pause of one speaker is closed."""


class Engine(Protocol):
    """A loaded engine; lives in a worker process."""

    name: str
    """What results call it."""
    model: str
    """What results call its weights."""
    device: str
    """`cpu` or `cuda`."""

    def diarize(self, sound: Sound, wanted: Wanted, notes: Notes) -> Iterator[Step | Diarization]:
        """Yield steps, and the answer last. A recording without speech has an answer without turns.

        An engine whose work is long leaves notes, and goes on with those that it finds.
        """
