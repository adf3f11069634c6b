"""Figures over all processes, read from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpulock.store.script_store import text


@dataclass
class Figures:
    """What happened in some pools since the store was made."""

    counts: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    recent: list[str] = field(default_factory=list)
    """For each pool its last outcomes, oldest first: `1` granted, `0` not."""
    last_grant_us: int = 0
    last_holder: str = ""

    def recent_outcomes(self, window: int) -> str:
        """Return the last outcomes, of all pools together at most `window`.

        Pools are not interleaved by time: with several, each contributes its own last ones in equal parts.
        """
        share = max(1, window // max(1, len(self.recent)))
        return "".join(outcomes[-share:] for outcomes in self.recent)

    @property
    def attempts(self) -> int:
        """Requests that ended their wait."""
        return sum(self.counts[outcome] for outcome in ("granted", "timeouts", "cancelled", "refused"))

    @property
    def judged(self) -> int:
        """Requests that ended their wait otherwise than by being taken back: who cancels has not found a fault."""
        return self.attempts - self.counts["cancelled"]

    @property
    def success_rate(self) -> float | None:
        """Granted requests among those judged; None: there are none."""
        return self.counts["granted"] / self.judged if self.judged else None

    @property
    def timeout_rate(self) -> float | None:
        """Waits that ended without a grant in time, among those judged; None: there are none."""
        return self.counts["timeouts"] / self.judged if self.judged else None


def to_figures(stored: Mapping[str, str], pool: str) -> Figures:
    """Sum up the figures of one pool, or of all."""
    figures = Figures()
    newest = -1
    for name, value in stored.items():
        owner, _, figure = name.rpartition("|")
        if not owner or (pool and owner != pool):
            continue
        if figure == "recent":
            figures.recent.append(value)
        elif figure == "last_grant":
            if int(value) > newest:
                newest = figures.last_grant_us = int(value)
                figures.last_holder = stored.get(f"{owner}|last_holder", "")
        elif figure.startswith("rel:"):
            figures.releases[figure[4:]] += int(value)
        elif figure != "last_holder":
            figures.counts[figure] += int(value)
    return figures


def pairs(flat: list[bytes]) -> dict[str, str]:
    """Return what HGETALL gave as a mapping."""
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
