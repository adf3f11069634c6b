"""A closed loop of clients: each asks, waits for the end of its task, and asks again."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench import processes
from bench.tasks.rest import Connection, connected

OneTask = Callable[[Connection], Awaitable[float]]
"""Brings one task to its end as its client sees it; gives the seconds from accepted to the start of its effect."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True)
class Figures:
    """What a loop measured."""

    rate: float
    """Tasks a second."""
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Processor time of all processes of the system for one task; the client's is not in it."""
    pickup_p50_ms: float
    pickup_p99_ms: float
    tasks: int


async def closed_loop(
    address: str,
    one_task: OneTask,
    pids: set[int],
    *,
    concurrency: int,
    seconds: float,
    most: int = 1_000_000,
) -> Figures:
    """Run clients side by side for `seconds`, or until `most` tasks are done."""
    latencies: list[float] = []
    pickups: list[float] = []
    cpu = processes.cpu_seconds(pids)
    begun = time.perf_counter()
    end = begun + seconds

    async def client(connection: Connection) -> None:
        while time.perf_counter() < end and len(latencies) < most:
            asked = time.perf_counter()
            pickups.append(await one_task(connection))
            latencies.append(time.perf_counter() - asked)

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connected(address)) for _ in range(concurrency)]
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(client(connection))
    took = time.perf_counter() - begun
    cpu = processes.cpu_seconds(pids) - cpu
    return Figures(
        rate=len(latencies) / took,
        p50_ms=statistics.median(latencies) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        cpu_ms=cpu * 1000 / len(latencies),
        pickup_p50_ms=statistics.median(pickups) * 1000,
        pickup_p99_ms=percentile(pickups, 0.99) * 1000,
        tasks=len(latencies),
    )
