"""A task's way from submit to its end against Celery, SAQ and taskiq, and what the spine promises: `make bench-tasks`.

Everybody runs on this machine, one system at a time: a Redis whose append-only file is synced every second, a REST server of
one process, a worker. A client submits a no-op over one kept connection and waits for its end as that system lets it wait. The
peers come from requirements/bench-peers.txt and are started here (`bench/tasks/peers.py` has their settings); YiVideo is the whole
embedded stack (`python -m stack`) with a toy node beside it.

`--rows` runs a part of it, for development; the result line has what was measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.servers import ROOT
from bench.tasks import ours, pace, peers, stock, stops

ROWS = ("ours", "peers", "pickup", "cancel", "restart", "idle", "queued", "growth")
CELERY = peers.CELERY.name
ROUNDS = 2

Result = dict[str, Any]


def show(label: str, text: str) -> None:
    """Print a line of the second table."""
    print(f"{label:44}{text}", flush=True)


async def _rates(folder: Path, rows: set[str], seconds: float, result: Result) -> None:
    table: pace.Table = {}
    print(pace.head(), flush=True)
    for turn in range(ROUNDS):  # whatever else the machine does strikes both
        if "ours" in rows:
            async with ours.running(folder / f"pace-{turn}") as stack:
                await pace.measure(stack, table, seconds)
        if "peers" in rows:
            await pace.measure_peer(peers.CELERY, folder / f"celery-{turn}", table, seconds)
    if "peers" in rows:
        for peer in (peers.SAQ, peers.TASKIQ):
            await pace.measure_peer(peer, folder / peer.module.rpartition(".")[2], table, seconds)
    if "peers" in rows:
        result["peer_pickup_p99_ms"] = round(pace.best_pickup_p99_ms(table), 2)
    if {"ours", "peers"} <= rows:
        rate = pace.best_rate(table, pace.OURS)
        documented = (CELERY, peers.POLLED), (CELERY, peers.GET)
        result["rate_ratio_celery"] = round(rate / pace.best_rate(table, *documented), 2)
        result["p50_ratio_celery"] = round(
            pace.p50_ms(table, pace.OURS) / pace.p50_ms(table, documented[0]), 3
        )
        result["p50_ratio_celery_get"] = round(
            pace.p50_ms(table, pace.OURS) / pace.p50_ms(table, documented[1]), 3
        )
        tuned = (CELERY, peers.SUBSCRIBED)
        result["rate_ratio_celery_tuned"] = round(rate / pace.best_rate(table, tuned), 2)
        result["p50_ratio_celery_tuned"] = round(pace.p50_ms(table, pace.OURS) / pace.p50_ms(table, tuned), 2)


async def _pickup(stack: ours.Yivideo, result: Result) -> None:
    found = await stops.pickup_ms(stack, 1000)
    result["pickup_p99_ms"] = round(found.p99, 2)
    if best := result.get("peer_pickup_p99_ms"):
        result["pickup_p99_ratio"] = round(found.p99 / best, 2)
    show("accepted → effect starts", f"p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms ({found.count} tasks)")


async def _cancel(stack: ours.Yivideo, result: Result) -> None:
    found = await stops.cancels(stack, 60, 20)
    worst = max(found.obedient.p99, found.stubborn.p99)
    result["cancel_p99_ms"], result["cancel_orphans"] = round(worst, 1), found.orphans
    for label, one in (("ends at SIGTERM", found.obedient), ("ignores it; less the grace", found.stubborn)):
        show(
            f"cancel → tree gone ({label})", f"p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms ({one.count} trees)"
        )
    show("processes left behind", str(found.orphans))


async def _restart(stack: ours.Yivideo, result: Result) -> None:
    found = await stops.restarts(stack, 4, 8)
    result["restart_p99_seconds"] = round(found.p99, 2)
    show(
        "node killed → effect starts again",
        f"p50 {found.p50:.2f} s, p99 {found.p99:.2f} s ({found.count} tasks)",
    )


async def _idle(stack: ours.Yivideo, result: Result) -> None:
    found = await stock.idle(stack, 20)
    result["idle_core_percent"] = round(found.core_percent, 2)
    each = ", ".join(f"{name} {percent:.2f}" for name, percent in sorted(found.by_process.items()))
    show("idle stack", f"{found.core_percent:.2f} % of a core ({each})")
    show("idle Redis", f"{found.redis_ops:.1f} commands/s")


async def _queued(stack: ours.Yivideo, result: Result) -> None:
    found = await stock.queued(stack, 10_000, 2000, 200)
    result["submit_p99_ratio_10k"] = round(found.full.p99 / found.empty.p99, 2)
    for label, one in (("nothing queued", found.empty), (f"{found.tasks} queued", found.full)):
        show(f"submit, {label}", f"p50 {one.p50:.2f} ms, p99 {one.p99:.2f} ms ({one.count} submits)")
    show(
        "memory",
        f"{found.bytes_per_task:.0f} B per queued task, {found.bytes_per_watcher / 1024:.0f} KiB per watcher",
    )


async def _growth(stack: ours.Yivideo, result: Result) -> None:
    grown = await stock.growth(stack, 1000, 10_000)
    result["rss_growth_percent"] = round(stock.worst(grown).percent, 1)
    for one in grown:
        show(
            f"RSS of {one.name}",
            f"{one.early_mib:.1f} MiB after 1,000 tasks, {one.late_mib:.1f} after 10,000 ({one.percent:+.1f} %)",
        )


_ON_ONE_STACK = {"idle": _idle, "pickup": _pickup, "cancel": _cancel, "restart": _restart, "queued": _queued}


async def measure(rows: set[str], seconds: float, folder: Path) -> Result:
    """Measure the rows; returns the result."""
    result: Result = {}
    if rows & {"ours", "peers"}:
        await _rates(folder, rows, seconds, result)
    if rows & _ON_ONE_STACK.keys():
        async with ours.running(folder / "stack") as stack:
            for name, row in _ON_ONE_STACK.items():
                if name in rows:
                    await row(stack, result)
    if "growth" in rows:
        # Ended tasks are kept for a week, which is memory well spent; kept for a second, what grows is a leak.
        async with ours.running(folder / "growth", YIVIDEO_SCHEDULER__RESULT_TTL_SECONDS="1") as stack:
            await _growth(stack, result)
    return result


def main() -> int:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each loop (default: 3)")
    options = parser.parse_args()
    rows = set(options.rows.split(","))
    if unknown := rows - set(ROWS):
        parser.error(f"no row is called {', '.join(sorted(unknown))}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-tasks-", dir=ROOT) as name:
        result = uvloop.run(measure(rows, options.seconds, Path(name)))
    print(f"took {time.monotonic() - begun:.0f} s")
    print("RESULT " + json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
