"""What a run has sent and seen."""

from __future__ import annotations

from dataclasses import dataclass, field

_SHOWN = 12


@dataclass
class Tally:
    """Counts and findings of one run."""

    requests: int = 0
    faults: list[str] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    """Ids of tasks that a server said exist."""
    deleted: set[str] = field(default_factory=set)

    def fault(self, what: str, sent: object = None) -> None:
        """Note an answer that is a fault of ours, with what was sent."""
        self.faults.append(what)
        if len(self.faults) <= _SHOWN:
            print(f"FAULT {what}\n      {str(sent)[:600]}", flush=True)
