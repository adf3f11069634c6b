"""The memory and the number of a node's worker processes while something runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.processes import rss_mib

_PERIOD_SECONDS = 0.5


def workers() -> set[int]:
    """Return the worker processes of this process that have not ended."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has just ended
        if b"worker_main.py" in command and int(parent) == os.getpid() and state != "Z":
            found.add(int(folder.name))
    return found


@dataclass
class Memory:
    """What was seen of each process, twice a second: MiB."""

    workers: dict[int, list[float]] = field(default_factory=dict)
    at_work: dict[int, list[float]] = field(default_factory=dict)
    """The same while `working` is set: in the phase of the long work, which has other models than those before."""
    working: bool = False
    """Whether something of the long work is done: a process that starts and loads its model is no memory that grows."""
    node: list[float] = field(default_factory=list)
    """The node's own process, which is the bench's as well."""

    @property
    def peak(self) -> float:
        """The largest worker at its largest."""
        return max((max(sizes) for sizes in self.workers.values()), default=0.0)

    def growth(self) -> float:
        """Return by how many percent the worker that was longest at work grew from the second quarter of it to the last."""
        longest = max(self.at_work.values(), key=len, default=[])
        return growth_percent(longest)

    def look(self) -> None:
        """Note every process."""
        for pid in workers():
            try:
                size = rss_mib(pid)
            except OSError:
                continue
            self.workers.setdefault(pid, []).append(size)
            if self.working:
                self.at_work.setdefault(pid, []).append(size)
        self.node.append(rss_mib(os.getpid()))


def growth_percent(sizes: Sequence[float]) -> float:
    """Return by how many percent the last quarter is larger than the second: the first is when caches and arenas fill."""
    quarter = len(sizes) // 4
    if quarter == 0:
        return 0.0
    early, late = median(sizes[quarter : 2 * quarter]), median(sizes[-quarter:])
    return 100 * (late / early - 1)


@asynccontextmanager
async def watched() -> AsyncIterator[Memory]:
    """Look at the processes for the time of the block."""
    memory = Memory()

    async def watch() -> None:
        while True:
            await asyncio.to_thread(memory.look)
            await asyncio.sleep(_PERIOD_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield memory
    finally:
        watching.cancel()
