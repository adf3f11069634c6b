"""What a task costs in two versions of YiVideo, in turns in one run: `make bench-versions base=FOLDER`.

FOLDER is a checkout of the other version, with its generated code. Each turn starts that version's whole stack and has 64 clients
run `--tasks` no-ops to their ends. Processor time is the kernel's own count for each process (`schedstat`), which drifts less from
turn to turn than a rate does; the rates stand beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from operator import itemgetter
from pathlib import Path

import uvloop

from bench import processes
from bench.servers import ROOT
from bench.tasks import ours
from bench.tasks.load import Figures, closed_loop
from bench.tasks.stock import name_of

_CLIENTS = 64
_WARM_TASKS = 500
_LONGEST_SECONDS = 120.0

Cost = tuple[Figures, dict[str, float]]
"""A turn's figures, and processor milliseconds a task by process."""


async def one_turn(root: Path, folder: Path, tasks: int) -> Cost:
    """Run the tasks on one version's stack."""
    async with ours.running(folder, root) as stack:

        async def loop(most: int) -> Figures:
            return await closed_loop(
                stack.address,
                ours.noop,
                stack.pids,
                concurrency=_CLIENTS,
                seconds=_LONGEST_SECONDS,
                most=most,
            )

        await loop(_WARM_TASKS)
        before = {pid: processes.running_seconds(pid) for pid in stack.pids}
        figures = await loop(tasks)
        spent: dict[str, float] = {}
        for pid, seconds in before.items():
            ms = (processes.running_seconds(pid) - seconds) * 1000 / figures.tasks
            spent[name_of(pid)] = spent.get(name_of(pid), 0.0) + ms
    return figures, spent


async def measure(base: Path, rounds: int, tasks: int, folder: Path) -> dict[str, list[Cost]]:
    """Measure both versions in turns."""
    costs: dict[str, list[Cost]] = {"base": [], "here": []}
    for turn in range(rounds):
        for name, root in (("base", base), ("here", ROOT)):
            figures, spent = await one_turn(root, folder / f"{name}-{turn}", tasks)
            costs[name].append((figures, spent))
            print(_line(name, figures, spent), flush=True)
    return costs


def _line(name: str, figures: Figures, spent: dict[str, float]) -> str:
    dearest = sorted(spent.items(), key=itemgetter(1), reverse=True)
    each = ", ".join(f"{process.split()[0]} {ms:.3f}" for process, ms in dearest if ms >= 0.001)
    return f"{name:6}{figures.rate:7.0f} tasks/s  {sum(spent.values()):6.3f} CPU ms/task: {each}"


def _median(costs: list[Cost]) -> dict[str, float]:
    return {
        "rate": round(statistics.median(figures.rate for figures, _ in costs)),
        "cpu_ms_per_task": round(statistics.median(sum(spent.values()) for _, spent in costs), 3),
    }


def main() -> int:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=4000, help="tasks of a turn (default: 4000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-versions-", dir=ROOT) as folder:
        costs = uvloop.run(measure(options.base.resolve(), options.rounds, options.tasks, Path(folder)))
    result = {name: _median(turns) for name, turns in costs.items()}
    ratio = result["here"]["cpu_ms_per_task"] / result["base"]["cpu_ms_per_task"]
    print("RESULT " + json.dumps({**result, "cpu_ratio": round(ratio, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
