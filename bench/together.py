"""Several benches as one: `python -m bench.together bench.quality.diarize bench.quality.asr …`.

Each runs in a process of its own, one after the other, and ends with a line `RESULT {…}`. Their figures come out as one table and
one such line. The exit status is 1 when one of them missed a gate or broke; the others run all the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

_MARK = "RESULT "


def run(module: str) -> tuple[dict[str, object], int]:
    """Run one bench, showing what it prints; gives its figures and its exit status. No figures count as a failure."""
    figures: dict[str, object] = {}
    process = subprocess.Popen([sys.executable, "-m", module], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if line.startswith(_MARK):
                figures = json.loads(line.removeprefix(_MARK))
            else:
                print(line, end="", flush=True)
    status = process.wait()
    return figures, status if figures else status or 1


def main(modules: Sequence[str]) -> int:
    """Run all; returns the exit status."""
    if not modules:
        print("together: no bench is named", file=sys.stderr)
        return 2
    merged: dict[str, object] = {}
    failed = []
    for module in modules:
        began = time.monotonic()
        print(f"— {module}", flush=True)
        figures, status = run(module)
        twice = merged.keys() & figures.keys()
        if twice:
            raise ValueError(f"{module} has figures that another has: {sorted(twice)}")
        merged |= figures
        if status:
            failed.append(module)
        print(f"— {module}: {'missed' if status else 'passed'}, {time.monotonic() - began:.0f} s", flush=True)
    width = max(map(len, merged), default=0)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in merged.items()))
    print(_MARK + json.dumps(merged))
    if failed:
        print(f"missed a gate or broke: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
