"""How a spoken line is brought into the time that the film has for it: faster or slower, then longer into the pause behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.tts.sound_files import MAX_TEMPO, MIN_TEMPO


@dataclass(frozen=True)
class Slot:
    """The time of one line, in seconds of the film."""

    start: float
    end: float
    """Where the line ends in the original."""
    limit: float
    """Until when it may go on: into the pause behind it, as far as may be borrowed of that."""


@dataclass(frozen=True)
class Fit:
    """What is done to a line."""

    tempo: float
    """By how much it is sped up."""
    seconds: float
    """How long it then lasts."""
    borrowed: float
    """Seconds that it goes on behind its own end."""
    overrun: float
    """Seconds that it goes on behind its limit."""


def slots_of(
    spans: Sequence[tuple[float, float]], total_seconds: float, borrow_seconds: float, gap_seconds: float
) -> list[Slot]:
    """Return the slots of lines, whose spans are in order of their starts.

    A line may go on into the pause behind it until `gap_seconds` before the next, for at most `borrow_seconds`, and not past the
    film's end. Where the original's speakers talk over each other nothing can be borrowed.
    """
    found = []
    for number, (start, end) in enumerate(spans):
        following = spans[number + 1][0] - gap_seconds if number + 1 < len(spans) else total_seconds
        limit = max(end, min(following, end + borrow_seconds))
        found.append(Slot(start, end, min(limit, max(total_seconds, start))))
    return found


def fit(seconds: float, slot: Slot) -> Fit:
    """Return what is done to a line that was spoken in `seconds`: by 0.85 to 1.25, then into the pause, then too long."""
    room = max(slot.end - slot.start, 1e-3)
    tempo = min(MAX_TEMPO, max(MIN_TEMPO, seconds / room))
    lasts = seconds / tempo
    end = slot.start + lasts
    return Fit(tempo, lasts, max(0.0, end - slot.end), max(0.0, end - slot.limit))
