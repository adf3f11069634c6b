"""RTTM, NIST's text form of who spoke when: `SPEAKER <file> 1 <start> <duration> <NA> <NA> <speaker> <NA> <NA>`."""

from __future__ import annotations

from collections.abc import Iterable

from services.diarize.turns import Turn


class NotRttm(ValueError):
    """A line is not what the format says."""


def to_rttm(turns: Iterable[Turn], name: str) -> str:
    """Return the turns as text; blanks in names become `_`, since the format has none."""
    name = "_".join(name.split()) or "audio"
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.duration:.3f} <NA> <NA> {'_'.join(turn.speaker.split())} <NA> <NA>\n"
        for turn in turns
    )


def from_rttm(text: str) -> dict[str, list[Turn]]:
    """Return the turns of each file that the text names. Raises NotRttm with the number of the bad line."""
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0] != "SPEAKER":
            continue
        try:
            start, duration = float(words[3]), float(words[4])
            turn = Turn(start, start + duration, words[7])
        except (IndexError, ValueError):
            raise NotRttm(f"line {number} is not RTTM: {line[:80]!r}") from None
        found.setdefault(words[1], []).append(turn)
    return {name: sorted(turns) for name, turns in found.items()}
