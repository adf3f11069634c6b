"""What the stack with every node costs while nobody uses it: `make bench-idle`.

Processor time is the kernel's own count in nanoseconds, of every thread of every process that the stack has started; memory is the
sum of what each process has resident, so that what they share counts as often as it is shared (the table has each one's part of it
besides). Gates: ≤ 3 % of a core, ≤ 1.5 GiB, up in ≤ 20 s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.servers import program

_GATES = {"idle_core_percent": 3.0, "idle_rss_mib": 1536.0, "start_seconds": 20.0}
_START_SECONDS = 120.0
_SETTLE_SECONDS = 15.0
"""After the start, so that what it had to do is done."""


@dataclass
class Cost:
    """One kind of process, all of its kind together."""

    count: int = 0
    core_percent: float = 0.0
    switches: float = 0.0
    """Times a second that one of its threads went to sleep by itself."""
    rss_mib: float = 0.0
    pss_mib: float = 0.0
    """Its resident memory with what is shared divided among the sharers."""


def name_of(pid: int) -> str:
    """Return what a process is, for the table."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    if "-m" in words:
        return words[words.index("-m") + 1]
    scripts = [word for word in words if word.endswith("_main.py")]
    return Path(scripts[0] if scripts else words[0]).name


def switches(pid: int) -> int:
    """Return how often a process's threads have gone to sleep."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int(
                (thread / "status").read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0]
            )
    return total


def pss_mib(pid: int) -> float:
    """Return the proportional memory of a process; 0 where it may not be asked."""
    with contextlib.suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) / 1024
    return 0.0


def watch(root: int, seconds: float) -> tuple[dict[str, Cost], float]:
    """Watch a tree of processes do nothing; also gives what they cost by the kernel's ticks, in percent of a core."""
    pids = processes.tree([root])
    began = time.monotonic()
    before = {pid: (processes.running_seconds(pid), switches(pid)) for pid in pids}
    ticks = processes.cpu_seconds(pids)
    time.sleep(seconds)
    took = time.monotonic() - began
    by_ticks = 100 * (processes.cpu_seconds(pids) - ticks) / took
    found: dict[str, Cost] = defaultdict(Cost)
    for pid in pids:
        cost = found[name_of(pid)]
        cost.count += 1
        cost.core_percent += 100 * (processes.running_seconds(pid) - before[pid][0]) / took
        cost.switches += (switches(pid) - before[pid][1]) / took
        cost.rss_mib += processes.rss_mib(pid)
        cost.pss_mib += pss_mib(pid)
    return found, by_ticks


def measure(folder: Path, seconds: float) -> tuple[float, dict[str, Cost], float, dict[str, object]]:
    """Return the seconds of the start, the costs, those by ticks, and what the stack says of itself."""
    environment = {
        "YIVIDEO_STACK__FOLDER": str(folder / "run"),
        "YIVIDEO_STACK__GATEWAY_LISTEN": "127.0.0.1:0",
        **{name: os.environ[name] for name in ("YIVIDEO_MODELS",) if name in os.environ},
    }
    card = folder / "run/stack.json"
    began = time.monotonic()
    with program([sys.executable, "-m", "stack"], environment, log=folder / "stack.log") as stack:
        while not card.exists():
            if stack.poll() is not None or time.monotonic() - began > _START_SECONDS:
                raise RuntimeError((folder / "stack.log").read_text())
            time.sleep(0.02)
        start_seconds = time.monotonic() - began
        time.sleep(_SETTLE_SECONDS)
        told = json.loads(card.read_text())
        return start_seconds, *watch(stack.pid, seconds), told


def main() -> int:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="idle-") as folder:
        start_seconds, costs, by_ticks, told = measure(Path(folder), chosen.seconds)
    print(f"nodes: {', '.join(told['nodes'])}")  # type: ignore[arg-type]
    if told["left_out"]:
        print(f"left out: {told['left_out']}", file=sys.stderr)
    print(f"{'process':<24}{'':>3}{'% core':>9}{'sleeps/s':>10}{'RSS MiB':>9}{'PSS MiB':>9}")
    for name, cost in sorted(costs.items(), key=lambda item: -item[1].core_percent):
        print(
            f"{name:<24}{cost.count:>3}{cost.core_percent:>9.3f}{cost.switches:>10.1f}{cost.rss_mib:>9.1f}{cost.pss_mib:>9.1f}"
        )
    result = {
        "idle_core_percent": round(sum(cost.core_percent for cost in costs.values()), 2),
        "idle_rss_mib": round(sum(cost.rss_mib for cost in costs.values()), 1),
        "start_seconds": round(start_seconds, 1),
    }
    switches_in_all = sum(cost.switches for cost in costs.values())
    print(
        f"sleeps: {switches_in_all:.0f}/s, PSS in all {sum(cost.pss_mib for cost in costs.values()):.0f} MiB"
    )
    print(f"by the kernel's ticks of 10 ms: {by_ticks:.2f} % of a core")
    print("RESULT " + json.dumps(result))
    missed = [name for name, gate in _GATES.items() if result[name] > gate]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed or told["left_out"] else 0


if __name__ == "__main__":
    sys.exit(main())
