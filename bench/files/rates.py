"""Carries the film both ways by turns, and keeps how fast each went."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

from bench.files.film import Film, evict
from bench.files.ways import Gateway, Way


@dataclass
class Rates:
    """MiB a second of every round."""

    direct_up: list[float] = field(default_factory=list)
    ours_up: list[float] = field(default_factory=list)
    direct_down: list[float] = field(default_factory=list)
    ours_down: list[float] = field(default_factory=list)
    cached_down: list[float] = field(default_factory=list)
    """Straight from the page cache; shown, not compared."""

    def ratio(self, direction: str) -> float:
        """Return the median of ours over direct."""
        pairs = zip(getattr(self, f"ours_{direction}"), getattr(self, f"direct_{direction}"), strict=True)
        return float(statistics.median(ours / direct for ours, direct in pairs))

    def print(self, name: str) -> None:
        """Print a line for each direction."""
        for direction in ("up", "down"):
            direct, ours = getattr(self, f"direct_{direction}"), getattr(self, f"ours_{direction}")
            each = " ".join(f"{value:5.0f}" for value in ours)
            print(
                f"{name:10} {direction:5} {statistics.median(direct):8.0f} {statistics.median(ours):8.0f}"
                f" {self.ratio(direction):7.2f}   [{each} ]"
            )


def compare(film: Film, direct: Way, gateway: Gateway, rounds: int, cold: list[Path]) -> Rates:
    """Carry the film both ways by turns; the first round only warms up. Folders of `cold` are evicted before a download."""
    rates = Rates()
    for number in range(rounds + 1):
        found = rates if number else Rates()
        for direct_rates, our_rates, carry in (
            (found.direct_up, found.ours_up, film.up),
            (found.direct_down, found.ours_down, film.down),
        ):
            turns: list[tuple[list[float], Way, str]] = [
                (direct_rates, direct, "direct"),
                (our_rates, gateway, "ours"),
            ]
            for into, way, path in turns if number % 2 else reversed(turns):
                if carry == film.down:
                    for folder in cold:
                        evict(folder)
                into.append(carry(way, path))
        if cold:
            found.cached_down.append(film.down(direct, "direct"))
        direct.remove("direct")
        gateway.remove("ours")
    return rates
