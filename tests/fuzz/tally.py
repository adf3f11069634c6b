"""What a run has sent and seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 2
"""Of each kind of fault."""


@dataclass
class Tally:
    """Counts and findings of one run."""

    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Answers that are faults of ours, by call and status."""
    accepted: set[str] = field(default_factory=set)
    """Ids of tasks that a server said exist."""
    deleted: set[str] = field(default_factory=set)

    def fault(self, kind: str, detail: object, sent: object) -> None:
        """Note an answer that is a fault of ours, with what was sent."""
        self.faults[kind] += 1
        if self.faults[kind] <= _SHOWN:
            print(f"FAULT {kind}: {str(detail)[:400]}\n      {str(sent)[:600]}", flush=True)
