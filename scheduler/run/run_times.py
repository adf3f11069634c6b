"""How long a node's last attempts ran, as this scheduler replica saw them end: what estimates are made of."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

_KEPT = 50


@dataclass(frozen=True)
class RunTime:
    """What is known of a node's attempts."""

    count: int
    mean_seconds: float


class RunTimes:
    """The last attempts of every node, 50 at most; gone with the process."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def note(self, node: str, seconds: float) -> None:
        """An attempt of a node has ended after so many seconds."""
        self._seconds[node].append(max(0.0, seconds))

    def of(self, node: str) -> RunTime:
        """Return what was seen of a node."""
        seen = self._seconds.get(node)
        return RunTime(len(seen), sum(seen) / len(seen)) if seen else RunTime(0, 0.0)
