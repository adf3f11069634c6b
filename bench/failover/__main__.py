"""`python -m bench.failover [--short]`: the primary fails under load, with and without waiting for a replica.

Three sentinels, a primary, a replica, two schedulers, a node and 32 clients. Every fault is told twice: with
`scheduler.min_replicas` 1, where nothing that was acknowledged may be gone, and 0, where what is gone is the figure. The exit code
is 1 when something promised is gone, and when the second telling never lost anything: then the first has proved nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

from bench.failover.faults import FAULTS
from bench.failover.story import Told, tell
from runtime.logs import configure_logs

_SHORT = ("killed, its replica 0.5 s behind",)


def _say(name: str, replicas: int, told: Told) -> None:
    median = statistics.median(told.calm_ms) if told.calm_ms else 0.0
    print(
        f"{name:34} min_replicas {replicas}  acknowledged {told.acknowledged:6}  lost {len(told.lost):4}  "
        f"not completed {told.not_completed}  refused {told.refused:5}  nothing for {told.failover_seconds:5.2f} s  "
        f"submit p50 {median:5.1f} ms",
        flush=True,
    )


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one fault instead of four")
    given = parser.parse_args()
    configure_logs("failover", level="error", log_format="console")
    stories: dict[int, list[Told]] = {0: [], 1: []}
    for name, fault in FAULTS.items():
        if given.short and name not in _SHORT:
            continue
        for replicas in (1, 0):
            with tempfile.TemporaryDirectory(prefix="yivideo-failover-") as folder:
                told = asyncio.run(tell(Path(folder), replicas, fault))
            stories[replicas].append(told)
            _say(name, replicas, told)
    promised = sum(len(told.lost) + told.not_completed for told in stories[1])
    result = {
        "acknowledged": sum(told.acknowledged for told in stories[1]),
        "lost": promised,
        "lost_without_wait": sum(len(told.lost) for told in stories[0]),
        "failover_seconds": round(max(told.failover_seconds for told in stories[1]), 2),
        "failover_seconds_without_wait": round(max(told.failover_seconds for told in stories[0]), 2),
    }
    print(f"RESULT {json.dumps(result)}", flush=True)
    return 0 if not promised and result["lost_without_wait"] else 1


if __name__ == "__main__":
    sys.exit(main())
