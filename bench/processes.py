"""What the processes of a system cost, read from /proc: processor time, memory, and the moment at which they are gone."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def tree(roots: Iterable[int]) -> set[int]:
    """Return the processes and all that they have started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that living processes have used, and their reaped children with them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(int(ticks) for ticks in _stat(pid)[11:15])
    return total / _TICK


def running_seconds(pid: int) -> float:
    """Return the processor time of a process's living threads by the scheduler's own count, to the nanosecond.

    `cpu_seconds` counts whole ticks of 10 ms to whoever runs when one ends. What a child that is gone has used is not in here.
    """
    total = 0
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_mib(pid: int) -> float:
    """Return the resident memory of one process."""
    return int(_stat(pid)[21]) * _PAGE / 1024**2


class Deaths:
    """Processes whose end is awaited, by pidfd: told by the kernel, not looked for."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._handles: dict[int, int] = {}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._handles[os.pidfd_open(pid)] = pid

    def wait(self, seconds: float) -> tuple[float, list[int]]:
        """Wait until all are gone; gives the monotonic time of the last end, and who is still there after `seconds`."""
        poll = select.poll()
        for handle in self._handles:
            poll.register(handle, select.POLLIN)
        left = dict(self._handles)
        give_up = time.monotonic() + seconds
        ended = time.monotonic()
        while left and (wait := give_up - time.monotonic()) > 0:
            for handle, _ in poll.poll(wait * 1000):
                poll.unregister(handle)
                left.pop(handle)
                ended = time.monotonic()
        for handle in self._handles:
            os.close(handle)
        return ended, list(left.values())
