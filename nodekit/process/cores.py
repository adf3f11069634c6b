"""How many processor cores this process may use, and what tells numeric libraries so.

A library that finds 64 cores in a container that may use 2 starts 64 threads, which then fight for the 2; so do two workers
that each take all cores of a machine.
"""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return the cores that the scheduler and the container's quota give this process, at least 1."""
    cores = len(os.sched_getaffinity(0))
    try:
        limit, period = quota.read_text().split()
        if limit != "max":
            cores = min(cores, -(-int(limit) // int(period)))
    except (OSError, ValueError):
        pass
    return max(1, cores)


def threads_for(setting: int, slots: int) -> int:
    """Return the threads of one worker: what was set, or an even share of the cores for each slot."""
    return setting or max(1, usable_cores() // max(1, slots))


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables by which numeric libraries start so many threads; those that the node itself was given win.

    Threads that wait sleep: OpenMP's spin by default, and take the cores away from other workers of the machine.
    """
    wanted = {name: str(threads) for name in _THREAD_VARIABLES} | {"OMP_WAIT_POLICY": "PASSIVE"}
    return {name: os.environ.get(name) or value for name, value in wanted.items()}
