"""Carries the film both ways by turns, and keeps how fast each went."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.files.film import MIB, Film, evict, warm
from bench.files.ways import Gateway, Way


@dataclass
class Rates:
    """MiB a second of every round."""

    direct_up: list[float] = field(default_factory=list)
    ours_up: list[float] = field(default_factory=list)
    direct_down: list[float] = field(default_factory=list)
    ours_down: list[float] = field(default_factory=list)
    direct_warm: list[float] = field(default_factory=list)
    """Down again, out of the page cache."""
    ours_warm: list[float] = field(default_factory=list)
    floor_down: list[float] = field(default_factory=list)
    """Down from the bare sender; empty where there is none."""
    floor_warm: list[float] = field(default_factory=list)
    cpu_seconds: dict[str, list[float]] = field(default_factory=lambda: {"up": [], "down": [], "warm": []})
    """Processor seconds of the gateway for each GiB, by direction."""

    def cpu(self, direction: str) -> float:
        """Return the gateway's median processor seconds for a GiB; NaN where nothing was measured."""
        taken = self.cpu_seconds[direction]
        return float(statistics.median(taken)) if taken else float("nan")

    def ratio(self, direction: str) -> float:
        """Return the median of ours over direct."""
        pairs = zip(getattr(self, f"ours_{direction}"), getattr(self, f"direct_{direction}"), strict=True)
        return float(statistics.median(ours / direct for ours, direct in pairs))

    def floor_ratio(self, direction: str) -> float:
        """Return the median of ours over the bare sender's."""
        pairs = zip(getattr(self, f"ours_{direction}"), getattr(self, f"floor_{direction}"), strict=True)
        return float(statistics.median(ours / floor for ours, floor in pairs))

    def print(self, name: str) -> None:
        """Print a line for each direction."""
        for direction in ("up", "down", "warm"):
            if not getattr(self, f"ours_{direction}"):
                continue
            direct, ours = getattr(self, f"direct_{direction}"), getattr(self, f"ours_{direction}")
            each = " ".join(f"{value:5.0f}" for value in ours)
            print(
                f"{name:10} {direction:5} {statistics.median(direct):8.0f} {statistics.median(ours):8.0f}"
                f" {self.ratio(direction):7.2f}   [{each} ]   gateway {self.cpu(direction):.2f} CPU s/GiB"
            )
            if floor := getattr(self, f"floor_{direction}", None):
                print(
                    f"{'':10} {'':5} bare sender {statistics.median(floor):.0f}, ours {self.floor_ratio(direction):.2f} of it"
                )


def compare(
    film: Film,
    direct: Way,
    gateway: Gateway,
    rounds: int,
    cold: list[Path],
    cpu: Callable[[], float],
    floor: Way | None = None,
) -> Rates:
    """Carry the film both ways by turns; the first round only warms up.

    Folders of `cold` are evicted before a download, which then is made again out of the page cache. `cpu` tells the gateway's
    processor seconds so far. `floor` serves what went up straight, and is asked in every download's turn too.
    """
    rates = Rates()
    for number in range(rounds + 1):
        found = rates if number else Rates()
        directions = [("up", film.up), ("down", film.down), *([("warm", film.down)] if cold else [])]
        for direction, carry in directions:
            turns: list[tuple[str, Way, str]] = [("direct", direct, "direct"), ("ours", gateway, "ours")]
            if floor is not None and direction != "up":
                turns.insert(1, ("floor", floor, "direct"))
            for side, way, path in turns if number % 2 else reversed(turns):
                if direction == "down":
                    for folder in cold:
                        evict(folder)
                if direction == "warm":
                    for folder in cold:
                        warm(folder)
                begun = cpu()
                getattr(found, f"{side}_{direction}").append(carry(way, path))
                if side == "ours":
                    found.cpu_seconds[direction].append((cpu() - begun) * 1024 * MIB / film.size)
        direct.remove("direct")
        gateway.remove("ours")
    return rates
