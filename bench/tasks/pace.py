"""Rate, latency and processor time of a durable no-op, ours beside the peers."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.tasks import peers
from bench.tasks.load import Figures, closed_loop
from bench.tasks.peers import System

CONCURRENCIES = (1, 16, 64)
OURS = ("YiVideo", "Prefer: wait")

Table = dict[tuple[str, str], dict[int, list[Figures]]]
"""Figures by system, way and concurrency, one for each round."""


async def measure(system: System, table: Table, seconds: float) -> None:
    """Measure every way of one system at every concurrency."""
    for way, one_task in system.ways.items():
        for concurrency in CONCURRENCIES:
            figures = await closed_loop(
                system.address, one_task, system.pids, concurrency=concurrency, seconds=seconds
            )
            row = table.setdefault((system.name, way), {})
            row.setdefault(concurrency, []).append(figures)
            print(line(system.name, way, concurrency, figures), flush=True)


def head() -> str:
    """Return the table's head."""
    return (
        f"{'':24}{'how the client waits':22}{'clients':>8}{'tasks/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
        f"{'CPU ms/task':>13}{'pick-up p50/p99 ms':>21}"
    )


def line(name: str, way: str, concurrency: int, figures: Figures) -> str:
    """Return a line of the table."""
    seen = figures.pickup_p99_ms > 0
    pickup = f"{figures.pickup_p50_ms:.2f} / {figures.pickup_p99_ms:.2f}" if seen else "–"
    return (
        f"{name:24}{way:22}{concurrency:>8}{figures.rate:>9.0f}{figures.p50_ms:>9.2f}{figures.p99_ms:>9.2f}"
        f"{figures.cpu_ms:>13.2f}{pickup:>21}"
    )


async def measure_peer(peer: peers.Peer, folder: Path, table: Table, seconds: float) -> None:
    """Measure a peer; no other system runs meanwhile."""
    async with peers.running(peer, folder) as system:
        await measure(system, table, seconds)


def best_rate(table: Table, *rows: tuple[str, str]) -> float:
    """Return the highest rate that one of the rows reached at one concurrency, as the mean of its rounds."""
    return max(
        statistics.mean(figures.rate for figures in rounds) for row in rows for rounds in table[row].values()
    )


def p50_ms(table: Table, row: tuple[str, str], concurrency: int = 1) -> float:
    """Return a row's median latency, as the mean of its rounds."""
    return statistics.mean(figures.p50_ms for figures in table[row][concurrency])


def best_pickup_p99_ms(table: Table) -> float:
    """Return the shortest time, p99, from a peer's enqueue to the start of its task, with one client; milliseconds.

    Of restarts there is no such figure: at their defaults no peer begins a killed worker's task again within the run (Celery after
    its visibility timeout of an hour).
    """
    seen = [
        statistics.mean(figures.pickup_p99_ms for figures in rounds[1])
        for rounds in table.values()
        if rounds[1][0].pickup_p99_ms > 0
    ]
    return min(seen)
