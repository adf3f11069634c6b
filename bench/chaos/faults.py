"""The plan of faults of one story: made from its seed and length alone, so that a seed repeats it.

A story is a row of storms, in which faults strike everything at once, each followed by a calm in which exactly one process is
killed: what a figure promises of a killed node or scheduler is measured there, where nothing else is broken. It ends with what an
operator does and no fault is: every part is told to stop and comes back, one after the other, then the whole installation, in the
order of `make run` and, as a cluster does it, all at once. None of it may count against a task.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SCHEDULERS = ("scheduler", "scheduler-2")
NODES = ("forge", "forge-2", "anvil")
SLOTS = 4
"""Of each node replica."""
WIRES = tuple(f"{scheduler}/{node}" for scheduler in SCHEDULERS for node in NODES)

CALM_SECONDS = 19.0
STORM_SECONDS = 24.0
SILENCE_SECONDS = 68.0
ORDERLY_SECONDS = 7.0
"""Between one part's orderly restart and the next part's."""
RESTART_SECONDS = 34.0
"""For the whole installation to stop, to come back and to take up its work."""
INSTALLATION = "installation"
AT_ONCE = "installation at once"
_GAP_SECONDS = 3.0
_EVERY_PART = 250
"""Tasks from which on a story has time for every part's restart."""


@dataclass(frozen=True)
class Fault:
    """One fault: `kind` befalls `target` at a time, and lasts."""

    at: float
    """Seconds after the story's beginning."""
    kind: str
    """kill, drain (SIGTERM), freeze (SIGSTOP, later SIGCONT), slay and stun (the same to a busy child of a node), hole
    (packets vanish), sever (connections are reset), deafen (the callback receiver does not listen), restart (every part is told
    to stop: in the order of trust, or at once, and all come back)."""
    target: str
    seconds: float = 0.0
    """How long it lasts; how long a dead process stays away."""
    alone: bool = False
    """Whether nothing else is broken meanwhile."""

    @property
    def orderly(self) -> bool:
        """Whether it is what an operator does, with nothing else broken."""
        return self.alone and self.kind in ("drain", "restart")


@dataclass(frozen=True)
class Plan:
    """All faults, in order, and how long the story is."""

    faults: tuple[Fault, ...]
    seconds: float


# (weight, kind, targets, least and longest seconds)
_STORM: tuple[tuple[int, str, tuple[str, ...], float, float], ...] = (
    (4, "kill", NODES, 0.3, 12),
    (3, "kill", SCHEDULERS, 0.3, 6),
    (2, "kill", ("gateway", "filestore"), 0.3, 3),
    (2, "kill", ("redis",), 0.3, 5),
    (3, "freeze", NODES, 1, 8),
    (2, "freeze", NODES, 14, 20),
    (3, "freeze", SCHEDULERS, 1, 14),
    (2, "freeze", ("gateway", "filestore", "redis"), 1, 5),
    (4, "slay", NODES, 0, 0),
    (3, "stun", NODES, 0.5, 6),
    (4, "hole", WIRES, 2, 18),
    (3, "sever", WIRES, 0, 0),
    (2, "drain", NODES, 0.3, 2),
    (2, "drain", SCHEDULERS, 0.3, 2),
    (1, "drain", ("gateway", "filestore", "redis"), 0.3, 2),
    (2, "deafen", ("absent",), 3, 10),
)


def _storm(dice: random.Random, begin: float, seconds: float) -> Iterator[Fault]:
    at = begin + dice.uniform(0.3, 1.0)
    while at < begin + seconds:
        _, kind, targets, least, most = dice.choices(_STORM, [row[0] for row in _STORM])[0]
        target, wished = dice.choice(targets), dice.uniform(least, most)
        if at + wished <= begin + seconds:
            yield Fault(round(at, 2), kind, target, round(wished, 2))
            at += dice.uniform(0.6, 2.6)
        else:
            at += 0.2


def _silence(dice: random.Random, begin: float, seconds: float) -> Iterator[Fault]:
    """Cut one node off from both schedulers for longer than anybody waits, while the others are struck."""
    lost = dice.choice(NODES[:2])
    for scheduler in SCHEDULERS:
        yield Fault(begin, "hole", f"{scheduler}/{lost}", seconds)
    yield from (fault for fault in _storm(dice, begin, seconds / 2) if lost not in fault.target.split("/"))


def _orderly(dice: random.Random, begin: float, *, every_part: bool) -> Iterator[Fault]:
    """Restart every part in turn and the installation in both ways, or, in a short story, the installation in one of them."""
    at = begin
    if every_part:
        for target in (dice.choice(NODES[:2]), dice.choice(SCHEDULERS), "gateway", "filestore", "redis"):
            yield Fault(round(at, 2), "drain", target, round(dice.uniform(0.3, 1.5), 2), alone=True)
            at += ORDERLY_SECONDS
        at += ORDERLY_SECONDS
    for target in (INSTALLATION, AT_ONCE) if every_part else (dice.choice((INSTALLATION, AT_ONCE)),):
        yield Fault(round(at, 2), "restart", target, 0.5, alone=True)
        at += RESTART_SECONDS


def make_plan(seed: int, tasks: int) -> Plan:
    """Plan the faults for a story of so many tasks: a storm and a calm at least, a fifth of a second for each task."""
    dice = random.Random(seed)
    wanted = max(36.0, tasks * 0.2)
    faults: list[Fault] = []
    at, rounds = 1.0, 0
    # Only nodes that have a twin: the work of the last replica of a kind has nowhere to go.
    victims = (NODES[:2], SCHEDULERS)
    while at < wanted - 1:
        long = rounds == 1
        seconds = (
            SILENCE_SECONDS
            if long
            else min(STORM_SECONDS, max(10.0, wanted - at - CALM_SECONDS - _GAP_SECONDS))
        )
        faults += (_silence if long else _storm)(dice, at, seconds)
        at += seconds + _GAP_SECONDS
        victim, away = dice.choice(victims[rounds % 2]), round(dice.uniform(0.3, 14), 2)
        faults.append(Fault(round(at, 2), "kill", victim, away, alone=True))
        at += CALM_SECONDS
        rounds += 1
    faults += _orderly(dice, at, every_part=tasks >= _EVERY_PART)
    at = faults[-1].at + RESTART_SECONDS
    return Plan(tuple(sorted(faults, key=lambda fault: fault.at)), at)
