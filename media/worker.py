"""A process that does one job and ends: a frozen dataclass in as JSON, one out, the share done and faults told by the way.

The decoders of libav run in such processes, so that a task can be killed in the middle of one, and a crash is that task's.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from media.faults import FaultCode, MediaFault
from media.process import Progress, Runner, run_lines

_PERIOD_SECONDS = 0.25


async def run_worker(
    runner: Runner, program: Path, job: dict[str, Any], progress: Progress | None = None
) -> dict[str, Any]:
    """Run a program that calls `serve` on a job; returns its report.

    Raises:
        MediaFault: what the process says, or FFMPEG_FAILED when it dies.
    """
    said: list[dict[str, Any]] = []

    def take(line: str) -> float | None:
        if line.startswith("{"):
            said.append(json.loads(line))
            return None
        return float(line)

    argv = [sys.executable, "-P", str(program), json.dumps(job)]
    completed = await run_lines(runner, argv, take, progress)
    if said and "fault" in said[-1]:
        raise MediaFault(FaultCode(said[-1]["fault"]), said[-1]["message"])
    if completed.returncode != 0 or not said:
        words = " ".join(completed.stderr_tail.strip().splitlines()[-1:])
        raise MediaFault(
            FaultCode.FFMPEG_FAILED, f"the decoding process ended with status {completed.returncode}: {words}"
        )
    return said[-1]


def absolute(path: Path) -> str:
    """Return a path that another process finds, wherever it stands."""
    return str(path.absolute())


def serve(job_of: Callable[..., Any], work: Callable[[Any, Callable[[float], None]], Any]) -> None:
    """Do the job on the command line: `job_of` makes it of its fields, `work` does it and may tell the share done."""
    last = 0.0

    def show(share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PERIOD_SECONDS:
            last = now
            print(f"{share:.4f}", flush=True)

    with _told():
        print(json.dumps(asdict(work(job_of(**json.loads(sys.argv[1])), show))), flush=True)


@contextmanager
def _told() -> Iterator[None]:
    """Tell a fault and end with another status than 0."""
    try:
        yield
    except MediaFault as fault:
        code, message = fault.code, fault.message
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        code, message = FaultCode.DISK_FULL, "the scratch disk is full"
    else:
        return
    print(json.dumps({"fault": code.value, "message": message}), flush=True)
    sys.exit(1)
