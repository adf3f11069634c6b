"""What is there without work being done: the idle stack, tasks that wait, clients that watch; and what work leaves behind."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bench import processes
from bench.tasks import ours
from bench.tasks.load import closed_loop
from bench.tasks.rest import Connection, connected, request
from bench.tasks.stops import Spread, spread

_SETTLE_SECONDS = 3.0
_SUBMITTERS = 16


@dataclass(frozen=True)
class Idle:
    """A stack that nobody uses."""

    core_percent: float
    """Processor time of all processes together, in percent of one core."""
    redis_ops: float
    """Commands a second, of both Redises."""
    by_process: dict[str, float]
    """Percent of one core, by the process's name."""


def name_of(pid: int) -> str:
    """Return what a process is, for the table."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    if "-m" in words:
        return words[words.index("-m") + 1]
    return Path(words[0]).name


async def idle(stack: ours.Yivideo, seconds: float) -> Idle:
    """Watch the stack do nothing."""
    await asyncio.sleep(_SETTLE_SECONDS)
    pids = processes.tree([stack.stack_pid])
    async with stack.redis() as tasks, stack.redis("lease_redis") as leases:
        before = {pid: processes.running_seconds(pid) for pid in pids}
        commands = await _commands(tasks, leases)
        begun = time.monotonic()
        await asyncio.sleep(seconds)
        took = time.monotonic() - begun
        # One of each is ours: the second INFO itself.
        commands = await _commands(tasks, leases) - commands - 2
        spent = {pid: 100 * (processes.running_seconds(pid) - before[pid]) / took for pid in pids}
    by_process: dict[str, float] = {}
    for pid, percent in spent.items():
        by_process[name_of(pid)] = by_process.get(name_of(pid), 0.0) + percent
    return Idle(sum(spent.values()), commands / took, by_process)


async def _commands(*stores: Redis) -> int:
    return sum([(await store.info("stats"))["total_commands_processed"] for store in stores])


@dataclass(frozen=True)
class Queued:
    """What a long queue costs."""

    empty: Spread
    """Milliseconds of a submit while nothing waits."""
    full: Spread
    """The same behind `tasks` waiting ones."""
    tasks: int
    bytes_per_task: float
    """Redis memory of a waiting task."""
    bytes_per_watcher: float
    """Memory of all processes for one open event stream."""


async def queued(stack: ours.Yivideo, tasks: int, submits: int, watchers: int) -> Queued:
    """Fill the queue behind tasks that hold every slot."""
    async with connected(stack.address) as connection, stack.redis() as redis:
        held = ours.submit("toy.hold", {"seconds": 600})
        for _ in range(ours.SLOTS):
            await connection.ask(held)
        await asyncio.sleep(1)
        empty = await _submits_ms(connection, submits)
        memory = (await redis.info("memory"))["used_memory"]
        last = await _fill(stack.address, tasks)
        bytes_per_task = ((await redis.info("memory"))["used_memory"] - memory) / tasks
        full = await _submits_ms(connection, submits)
        bytes_per_watcher = await _watch(stack, last, watchers)
    return Queued(empty, full, tasks, bytes_per_task, bytes_per_watcher)


async def _submits_ms(connection: Connection, count: int) -> Spread:
    wanted = ours.submit("toy.noop")
    values = []
    for _ in range(count):
        begun = time.perf_counter()
        answer = await connection.ask(wanted)
        values.append((time.perf_counter() - begun) * 1000)
        if answer.status != 202:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
    return spread(values)


async def _fill(address: str, tasks: int) -> list[str]:
    """Submit many; returns the ids of some."""
    ids: list[str] = []
    left = tasks

    async def submitter(connection: Connection) -> None:
        nonlocal left
        wanted = ours.submit("toy.noop")
        while left > 0:
            left -= 1
            ids.append((await connection.ask(wanted)).json()["task_id"])

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(_SUBMITTERS):
            group.create_task(submitter(await stack.enter_async_context(connected(address))))
    return ids


async def _watch(stack: ours.Yivideo, ids: list[str], watchers: int) -> float:
    pids = processes.tree([stack.stack_pid])

    def used() -> float:
        return sum(processes.rss_mib(pid) for pid in pids)

    async with AsyncExitStack() as streams:
        before = used()
        connections = []
        for task_id in ids[:watchers]:
            connection = await streams.enter_async_context(connected(stack.address))
            connection.send(request("GET", f"/v1/tasks/{task_id}/events", Accept="text/event-stream"))
            connections.append(connection)
        async with asyncio.timeout(30):
            while not all(connection.received_bytes > 400 for connection in connections):
                await asyncio.sleep(0.05)
        return (used() - before) * 1024**2 / watchers


@dataclass(frozen=True)
class Growth:
    """Resident memory, in MiB, of one process after some tasks and after many."""

    name: str
    early_mib: float
    late_mib: float

    @property
    def percent(self) -> float:
        """How much it grew."""
        return 100 * (self.late_mib / self.early_mib - 1)


async def growth(stack: ours.Yivideo, early: int, late: int) -> list[Growth]:
    """Run tasks and look at every process after `early` and after `late` of them."""
    pids = sorted(processes.tree([stack.stack_pid]))

    async def run(tasks: int) -> dict[int, float]:
        await closed_loop(
            stack.address, ours.noop, stack.pids, concurrency=_SUBMITTERS, seconds=300, most=tasks
        )
        await asyncio.sleep(_SETTLE_SECONDS)
        return {pid: processes.rss_mib(pid) for pid in pids}

    first = await run(early)
    second = await run(late - early)
    return [Growth(name_of(pid), first[pid], second[pid]) for pid in pids]


def worst(grown: list[Growth]) -> Any:
    """Return the growth of the process that grew most."""
    return max(grown, key=lambda one: one.percent)
