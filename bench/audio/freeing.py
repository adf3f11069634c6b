"""When what a task held is free: the end of the worker that worked for it, by the kernel's word, and of its scratch files.

The node and the bench share a process: who looked through /proc every two milliseconds here would measure that.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_seconds

_LOOK_SECONDS = 0.005
_LONGEST_SECONDS = 30.0


@dataclass(frozen=True)
class Freed:
    """Moments on the monotonic clock."""

    worker: float
    """When the worker's last thread had ended, and with it its memory was free."""
    files: float
    """When no file was left."""


def busiest(pids: Iterable[int], seconds: float = 0.5) -> int:
    """Return which of the processes used most of the processors in so many seconds. Raises ValueError when none did. Blocks."""
    before = {pid: cpu_seconds([pid]) for pid in pids}
    time.sleep(seconds)
    used = {pid: cpu_seconds([pid]) - spent for pid, spent in before.items()}
    if not any(spent > 0 for spent in used.values()):
        raise ValueError(f"none of {sorted(used)} is at work")
    return max(used, key=lambda pid: used[pid])


def freed(pid: int, folder: Path) -> Freed:
    """Wait until a process has ended and no file is below a folder. Raises TimeoutError after half a minute. Blocks."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    handle = os.pidfd_open(pid)
    try:
        ended = select.select([handle], [], [], _LONGEST_SECONDS)[0]
        worker = time.monotonic()
    finally:
        os.close(handle)
    while any(path.is_file() for path in folder.rglob("*")):
        time.sleep(_LOOK_SECONDS)
        if time.monotonic() > deadline:
            raise TimeoutError(f"files are still there: {list(folder.rglob('*'))[:5]}")
    if not ended:
        raise TimeoutError(f"process {pid} is still there")
    return Freed(worker, time.monotonic())
