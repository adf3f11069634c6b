"""An hour of audio through each task: `python -m bench.audio.hour [--minutes 60] [--tasks hear diarize …] [--runs 50]`.

For each task on a node of its own, through gRPC: (1) the hour is worked through while the memory of its worker is watched, and two
thirds through the worker gets SIGKILL: the task must go on from where it was, and the result must be whole; (2) the hour again,
cancelled in the middle of its work: from the cancel, less its grace, until the worker at work and its files are gone and the end is
told (workers that wait for a call stay warm); (3) so many runs of some seconds: memory at the last against the fifth. Memory grows
by the last quarter of the first worker's life over its second.

Ends with `RESULT {"hour_hear_rss_growth_percent": …, "hour_hear_cancel_ms": …, "hour_hear_whole": …, "runs_hear_rss_percent": …}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.audio.freeing import busiest, freed
from bench.audio.hour_cases import CASES, Case
from bench.audio.memory import watched, workers
from bench.processes import rss_mib
from nodekit.testkit import NodeUnderTest

GROWTH_PERCENT = 5.0
CANCEL_MS = 250.0
RUNS_PERCENT = 5.0
_GRACE_SECONDS = 0.2
_KILL_PERCENT = 65.0
_CANCEL_PERCENT = 30.0
_DAY = 86_400.0


async def killed_hour(under_test: NodeUnderTest, case: Case, minutes: float) -> dict[str, Any]:
    """Work through the hour with a SIGKILL at two thirds."""
    killed: list[int] = []

    def kill(event: Any) -> None:
        progress = event.progress
        memory.working = memory.working or progress.stage == case.stage
        if progress.stage == case.stage and progress.percent >= _KILL_PERCENT and not killed:
            memory.working = (
                False  # until the one that takes its place has started, loaded and done something
            )
            for pid in workers():
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    began = time.perf_counter()
    async with watched() as memory:
        result = await under_test.run(
            case.task, case.given, task_id="killed", on_event=kill, wait_seconds=_DAY, timeout_seconds=36_000
        )
    took = time.perf_counter() - began
    if result.outcome != "completed":
        raise SystemExit(f"{case.task}: {result.error.code}: {result.error.message}")
    wrong = await asyncio.to_thread(case.wrong, result)
    told = any("where it stopped" in line or "next sentence" in line for line in result.logs())
    if not killed or not told:
        wrong = f"{wrong} no worker was killed and replaced".strip()
    first = memory.workers.get(killed[0], []) if killed else []
    print(
        f"  {took:.0f} s for {minutes:g} min, largest worker {memory.peak:.0f} MiB (first {len(first)} looks), {wrong or 'whole'}"
    )
    return {
        "rss_growth_percent": round(memory.growth(), 2),
        "rss_peak_mib": round(memory.peak),
        "x_realtime": round(took / minutes / 60, 4),
        "whole": not wrong,
    }


async def cancelled_hour(under_test: NodeUnderTest, case: Case) -> float:
    """Return the milliseconds from a cancel, less its grace, until worker and files are gone and the end is told."""
    reached = asyncio.Event()

    def note(event: Any) -> None:
        if (
            event.HasField("progress")
            and event.progress.stage == case.stage
            and event.progress.percent >= _CANCEL_PERCENT
        ):
            reached.set()

    run = under_test.run(
        case.task, case.given, task_id="cancelled", on_event=note, wait_seconds=_DAY, timeout_seconds=36_000
    )
    task = asyncio.create_task(run)
    await reached.wait()
    scratch = under_test.root.parent / "work" / "scratch"
    assert any(path.is_file() for path in scratch.rglob("*")), "it works with scratch files"
    worker = await asyncio.to_thread(busiest, workers())
    began = time.monotonic()
    freeing = asyncio.create_task(asyncio.to_thread(freed, worker, scratch))
    await under_test.cancel("cancelled", grace_seconds=_GRACE_SECONDS)
    result = await task
    told = time.monotonic()
    assert result.outcome == "cancelled", result.outcome
    steps = {**asdict(await freeing), "told": told}
    after = {name: round((moment - began) * 1000) for name, moment in steps.items()}
    print(
        f"  cancelled with {_GRACE_SECONDS * 1000:.0f} ms of grace, load {os.getloadavg()[0]:.0f}: ms {after}"
    )
    return max(0.0, float(max(after.values())) - _GRACE_SECONDS * 1000)


async def many_runs(under_test: NodeUnderTest, case: Case, runs: int) -> float:
    """Return by how many percent worker and node together are larger after the last run than after the fifth."""
    sizes = []
    for number in range(runs):
        result = await under_test.run(case.task, case.short, task_id=f"run-{number}", wait_seconds=600)
        assert result.outcome == "completed", result.error
        sizes.append(sum(rss_mib(pid) for pid in workers()) + rss_mib(os.getpid()))
    fifth, last = median(sizes[3:6]), median(sizes[-3:])
    print(f"  {runs} runs: {' '.join(f'{size:.0f}' for size in sizes[::5])} MiB")
    return 100 * (last / fifth - 1)


async def measure(name: str, minutes: float, runs: int, folder: Path) -> dict[str, Any]:
    """Return every figure of one task."""
    case = await asyncio.to_thread(CASES[name], folder, minutes)
    figures: dict[str, Any] = {}
    threads = os.cpu_count() or 1
    # The limits are for strangers' uploads; these files are ours.
    options: dict[str, Any] = {"audio_limit_mib": 4000, "threads": threads, "allowed_roots": (Path("/"),)}
    async with NodeUnderTest(case.node, folder, **options) as under_test:
        if minutes:
            figures = {
                f"hour_{name}_{key}": value
                for key, value in (await killed_hour(under_test, case, minutes)).items()
            }
            figures[f"hour_{name}_cancel_ms"] = round(await cancelled_hour(under_test, case))
    if runs:
        async with NodeUnderTest(case.node, folder / "runs", **options) as under_test:
            figures[f"runs_{name}_rss_percent"] = round(await many_runs(under_test, case, runs), 2)
    return figures


def missed(figures: dict[str, Any]) -> list[str]:
    """Name the figures that are not as they should be."""
    limits = {"_rss_growth_percent": GROWTH_PERCENT, "_cancel_ms": CANCEL_MS, "_rss_percent": RUNS_PERCENT}
    over = [
        key
        for key, value in figures.items()
        for end, limit in limits.items()
        if key.endswith(end) and value > limit
    ]
    return over + [key for key, value in figures.items() if key.endswith("_whole") and not value]


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="0: only the runs")
    parser.add_argument("--tasks", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--runs", type=int, default=50, help="0: only the hour")
    arguments = parser.parse_args()
    # An hour of speech is some 70,000 characters, more than one task speaks by default.
    os.environ["YIVIDEO_TTS__MAX_CHARACTERS"] = "200000"
    figures: dict[str, Any] = {}
    for name in arguments.tasks:
        print(f"{name}:", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            of_one = asyncio.run(measure(name, arguments.minutes, arguments.runs, Path(folder)))
        print(f"  {of_one}", flush=True)  # a later task that breaks off does not take it along
        figures |= of_one
    print("RESULT", json.dumps(figures))
    if over := missed(figures):
        sys.exit(f"missed: {', '.join(over)}")


if __name__ == "__main__":
    main()
