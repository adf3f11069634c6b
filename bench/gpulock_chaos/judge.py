"""The judge: reads the journals, what became of each request, and what the service holds in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.gpulock_chaos.journal import PUBLISH, START, Line

GOOD_ENDS = frozenset({"completed", "cancelled", "GPU_LEASE_LOST", "GPU_LEASE_STOPPED", "GPU_LEASE_STALE"})
"""How a request may end whose node lives: it worked, was taken back, or lost its lease and can be tried again."""


@dataclass(frozen=True)
class Use:
    """One program's use of a device."""

    device: str
    token: int
    task: str
    begin: int
    end: int


@dataclass
class Verdict:
    """What was broken."""

    double_holders: list[str] = field(default_factory=list)
    lost_waiters: list[str] = field(default_factory=list)
    stale_results_accepted: list[str] = field(default_factory=list)
    leaked_leases: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was."""
        return not any(vars(self).values())

    def counts(self) -> dict[str, int]:
        """Return how often each law was broken."""
        return {law: len(cases) for law, cases in vars(self).items()}

    def cases(self) -> list[str]:
        """Return every case, named by its law."""
        return [f"{law}: {case}" for law, found in vars(self).items() for case in found]


def uses(lines: Iterable[Line]) -> list[Use]:
    """Return each use of a device, by its beginning."""
    spans: dict[tuple[str, int, str], tuple[int, int]] = {}
    for line in lines:
        if line.kind != PUBLISH:
            key = (line.device, line.token, line.task)
            begin, end = spans.get(key, (line.time, line.time))
            spans[key] = (min(begin, line.time), max(end, line.time))
    found = [Use(*key, begin, end) for key, (begin, end) in spans.items()]
    return sorted(found, key=lambda use: use.begin)


def double_holders(lines: Sequence[Line]) -> list[str]:
    """Return who used a device while another did, and whose token was older than an earlier holder's."""
    broken = []
    last: dict[str, Use] = {}
    highest: dict[str, int] = {}
    for use in uses(lines):
        before = last.get(use.device)
        if before is not None and use.begin <= before.end:
            broken.append(
                f"{use.device}: {use.task} began {(before.end - use.begin) / 1e6:.1f} ms before {before.task} ended"
            )
        if use.token <= highest.get(use.device, 0):
            broken.append(
                f"{use.device}: {use.task} began with the token {use.token}, not above {highest[use.device]}"
            )
        highest[use.device] = max(use.token, highest.get(use.device, 0))
        if before is None or use.end > before.end:
            last[use.device] = use
    return broken


def stale_results(lines: Sequence[Line]) -> list[str]:
    """Return the results that were accepted although a newer holder had begun on the same device."""
    broken = []
    highest: dict[str, int] = {}
    for line in lines:
        newest = highest.get(line.device, 0)
        if line.kind == START:
            highest[line.device] = max(newest, line.token)
        elif line.kind == PUBLISH and line.accepted and line.token < newest:
            broken.append(f"{line.device}: {line.task} published under {line.token} after {newest} had begun")
    return broken


def lost_waiters(ends: Mapping[str, str]) -> list[str]:
    """Return the requests that ended as none may, or have not ended; `ends` leaves out those whose node was killed."""
    return [f"{task}: {end or 'has not ended'}" for task, end in sorted(ends.items()) if end not in GOOD_ENDS]


def judge(lines: Sequence[Line], ends: Mapping[str, str], left: Sequence[str]) -> Verdict:
    """Judge a run: its journals by time, how each request ended, and what the service still holds when all is over."""
    return Verdict(
        double_holders=double_holders(lines),
        lost_waiters=lost_waiters(ends),
        stale_results_accepted=stale_results(lines),
        leaked_leases=list(left),
    )
