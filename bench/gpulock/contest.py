"""Hand-overs of every lock with every number of waiters."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence

from bench.gpulock import poller
from bench.gpulock.crew import Crew
from bench.gpulock.turns import Figures, percentile
from bench.servers import ROOT

WAITERS = (1, 2, 8, 32)
ROUNDS: Mapping[int, int] = {1: 100, 2: 50, 8: 16, 32: 8}
"""Rounds by waiters: about a hundred hand-overs at least."""

PAIRS = 300
"""Uncontended turns in a row."""

PEERS = ("redis-py", "python-redis-lock")
PEER_PYTHON = ROOT / ".venv-locks" / "bin" / "python"

Table = dict[str, dict[int, Figures]]
"""Figures by lock and number of waiters."""


@contextlib.contextmanager
def grpc_crew(addresses: Mapping[str, str], size: int = max(WAITERS) + 1) -> Iterator[Crew]:
    """Run client processes of the lock service; `addresses` by the name that plans use."""
    named = [f"{name}={address}" for name, address in addresses.items()]
    crew = Crew([sys.executable, "-m", "bench.gpulock.grpc_client", *named], size)
    try:
        crew.ready()
        yield crew
    finally:
        crew.close()


def by_turns(crew: Crew, locks: Mapping[str, Sequence[str]], share: float) -> Table:
    """Play the locks of one crew in turns, so that whatever else the machine does falls on all of them.

    `locks` has for each name the ways to the lock, which the clients of a round use in turn.
    """
    table: Table = {lock: {} for lock in locks}
    for ways in locks.values():
        for way in ways:
            crew.rounds(way, 1, 3)  # warm up
    for waiters in WAITERS:
        for lock in locks:
            table[lock][waiters] = Figures.empty()
        for number in range(max(1, round(ROUNDS[waiters] * share))):
            for lock in locks if number % 2 else reversed(list(locks)):
                table[lock][waiters].add(crew.round(*locks[lock], waiters=waiters))
    return table


def peers(url: str, share: float) -> tuple[Table, dict[str, float]]:
    """Play redis-py's lock and python-redis-lock, and the seed's poller; gives also their uncontended pairs' p50 in seconds."""
    table: Table = {}
    pairs: dict[str, float] = {}
    script = str(ROOT / "bench" / "gpulock" / "peer_client.py")
    for name in PEERS:
        crew = Crew([str(PEER_PYTHON), script, name, url], max(WAITERS) + 1)
        try:
            crew.ready()
            table |= by_turns(crew, {name: [name]}, share)
            pairs[name] = percentile(crew.pairs(name, 1, PAIRS)[0], 0.5)
        finally:
            crew.close()
    table["poller"] = asyncio.run(poller.play(url))
    return table, pairs


def print_table(table: Table) -> None:
    """Print p50 / p99 of every lock."""
    print("hand-over, ms p50 / p99 [turns that passed somebody]")
    print(f"{'':20}" + "".join(f"{f'{waiters} waiting':>22}" for waiters in WAITERS))
    for lock, figures in table.items():
        print(f"{lock:20}" + "".join(f"{figures[waiters].text():>22}" for waiters in WAITERS))
