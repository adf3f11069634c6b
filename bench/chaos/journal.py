"""The journal that every chaos task writes outside YiVideo: what really happened, whatever the system says of it.

One file that all tasks append to, a JSON line each. `start` and `end` of an effect are synced to disk before the work goes on; a
`beat` in between says that the process still lives, so that a run which was killed has a known extent. Times are CLOCK_MONOTONIC
seconds, which all processes of one machine share. Runs as a program of its own too, with nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

BEAT_SECONDS = 0.05


class Run:
    """One run of one effect."""

    def __init__(self, path: str, task_id: str, attempt: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._task_id = task_id
        self._attempt = attempt
        self.name = f"{task_id}/{attempt}/{os.getpid()}/{time.monotonic_ns()}"

    def write(self, mark: str) -> None:
        """Append one line; a line is one write, so lines of several processes never mix."""
        line = {
            "run": self.name,
            "task": self._task_id,
            "attempt": self._attempt,
            "pid": os.getpid(),
            "mark": mark,
            "time": time.monotonic(),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")
        if mark != "beat":
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


@contextmanager
def effect(path: str, task_id: str, attempt: int) -> Iterator[Run]:
    """Note the start and, when the block was not interrupted, the end of an effect."""
    run = Run(path, task_id, attempt)
    try:
        run.write("start")
        yield run
        run.write("end")
    finally:
        run.close()


def work(path: str, task_id: str, attempt: int, seconds: float) -> str:
    """Have an effect that takes so long; returns the run's name."""
    with effect(path, task_id, attempt) as run:
        give_up = time.monotonic() + seconds
        while (left := give_up - time.monotonic()) > 0:
            time.sleep(min(BEAT_SECONDS, left))
            run.write("beat")
    return run.name


if __name__ == "__main__":
    print(work(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])), flush=True)
