"""How soon an accepted task starts, how soon a cancelled one is gone, how soon one starts again whose node was killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import Deaths
from bench.tasks import ours
from bench.tasks.load import percentile
from bench.tasks.rest import Connection, connected, request

_LOOK_SECONDS = 0.005
_TREE_PROCESSES = 3
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Spread:
    """Median and worst percent of some measurements."""

    p50: float
    p99: float
    count: int


def spread(values: list[float]) -> Spread:
    """Summarise."""
    return Spread(statistics.median(values), percentile(values, 0.99), len(values))


async def pickup_ms(stack: ours.Yivideo, tasks: int) -> Spread:
    """Return the time from accepted (written to Redis, by its clock) to the first line of the task function, one task at a time."""
    values = []
    async with connected(stack.address) as connection, stack.redis() as redis:
        for _ in range(tasks):
            answer = (await connection.ask(ours.submit("toy.noop", wait=True))).json()
            created_us = int(await redis.hget("{yivideo}:t:" + answer["task_id"], "created") or 0)
            values.append((answer["result"]["output"]["started_us"] - created_us) / 1000)
            await asyncio.sleep(random.uniform(0, 0.002))
    return spread(values)


@dataclass(frozen=True)
class Cancels:
    """What cancelling cost."""

    obedient: Spread
    """Milliseconds from the request to the end of the last process, for trees that end at SIGTERM."""
    stubborn: Spread
    """The same for trees that ignore SIGTERM, less the grace that they are given."""
    orphans: int
    """Processes that were left."""


async def cancels(stack: ours.Yivideo, trees: int, stubborn_trees: int) -> Cancels:
    """Cancel process trees, one at a time."""
    took: dict[bool, list[float]] = {False: [], True: []}
    orphans = 0
    folder = stack.folder / "trees"
    folder.mkdir()
    async with connected(stack.address) as connection:
        for number in range(trees + stubborn_trees):
            stubborn = number >= trees
            seconds, left = await _cancel_one(connection, folder / str(number), stubborn)
            took[stubborn].append(1000 * (seconds - (ours.GRACE_SECONDS if stubborn else 0.0)))
            orphans += left
    return Cancels(spread(took[False]), spread(took[True]), orphans)


async def _cancel_one(connection: Connection, pids_file: Path, stubborn: bool) -> tuple[float, int]:
    task_input = {"pids_path": str(pids_file), "stubborn": stubborn}
    answer = await connection.ask(ours.submit("toy.tree", task_input))
    task_id = answer.json()["task_id"]
    pids = await _tree_pids(pids_file)
    deaths = Deaths(pids)
    asked = time.monotonic()
    waiting = asyncio.create_task(asyncio.to_thread(deaths.wait, ours.GRACE_SECONDS + 5))
    answer = await connection.ask(request("DELETE", f"/v1/tasks/{task_id}"))
    if answer.status not in (200, 202):
        raise RuntimeError(f"cancel answered {answer.status}: {answer.body[:300]!r}")
    ended, left = await waiting
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shown = (await connection.ask(request("GET", f"/v1/tasks/{task_id}/status", Prefer="wait=10"))).json()
    if shown["state"] != "cancelled":
        raise RuntimeError(f"a cancelled task is {shown}")
    return ended - asked, len(left)


async def _tree_pids(pids_file: Path) -> list[int]:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            lines = pids_file.read_text().split() if pids_file.exists() else []
            if len(lines) == _TREE_PROCESSES:
                return [int(line) for line in lines]
            await asyncio.sleep(_LOOK_SECONDS)


async def restarts(stack: ours.Yivideo, kills: int, tasks: int) -> Spread:
    """Kill the node while tasks run; returns the seconds until the effect of each has begun again, on the node's successor."""
    seconds = []
    async with connected(stack.address) as connection:
        for number in range(kills):
            journal = stack.folder / f"journal-{number}"
            wanted = ours.submit("toy.hold", {"seconds": 600, "journal_path": str(journal)})
            ids = [(await connection.ask(wanted)).json()["task_id"] for _ in range(tasks)]
            await _starts(journal, tasks)
            killed_us = time.time_ns() // 1000
            os.kill(stack.node_pid(), signal.SIGKILL)
            starts = await _starts(journal, 2 * tasks)
            seconds += [(at - killed_us) / 1e6 for _, attempt, at in starts if attempt > 1]
            for task_id in ids:
                await connection.ask(request("DELETE", f"/v1/tasks/{task_id}", Prefer="wait=10"))
    return spread(seconds)


async def _starts(journal: Path, count: int) -> list[tuple[str, int, int]]:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            lines: list[Any] = journal.read_text().splitlines() if journal.exists() else []
            if len(lines) >= count:
                return [
                    (task_id, int(attempt), int(at))
                    for task_id, attempt, at in (one.split() for one in lines)
                ]
            await asyncio.sleep(_LOOK_SECONDS)
