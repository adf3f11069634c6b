"""The reaper's own program: `reaper_main.py <pid> <mark prefix> <folder or empty> <frozen seconds>`; see `nodekit.process.reaper`.

Runs isolated and without site-packages, so it loads the process tree module from the file beside it. It reads lines, times being
CLOCK_BOOTTIME in seconds: `alive <time>`, `end <time> <mark prefix>`, `spare <mark prefix>`, and those of `orphan_requests`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable

_LONGEST_WAIT_SECONDS = 3600.0
_SHORTEST_WAIT_SECONDS = 0.005
"""Between two looks at a tree that the kernel has not taken down yet."""
_GONE_SECONDS = 5.0
"""How long a node whose pipe has closed, or that was killed, may take to be gone. Longer: it lives, and keeps its leases."""
_EXITING_SECONDS = 60.0
"""How long processes may be on their way out. Longer: a driver holds them, and the leases are left to run out."""


def _now() -> float:
    """Return seconds that go on while the machine is suspended: those of the scheduler and of the lock service do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Orders:
    """What the node has told its reaper."""

    def __init__(self, frozen_seconds: float, pass_on: Callable[[str, str], None]) -> None:
        """`pass_on` is told the lines that are not ours: their first word, and the rest."""
        self._frozen_seconds = frozen_seconds
        self._pass_on = pass_on
        self._alive_time = _now()
        self._ends: dict[str, float] = {}
        self._rest = b""
        self.stood_still = False
        """Whether there was too long a silence between two of its times."""

    def take(self, received: bytes) -> None:
        """Note what complete lines say; the rest waits for its end."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            verb, _, argument = line.decode().partition(" ")
            if verb == "alive":
                self._note_alive(float(argument))
            elif verb == "end":
                seconds, _, prefix = argument.partition(" ")
                self._ends[prefix] = float(seconds)
            elif verb == "spare":
                self._ends.pop(argument, None)
            else:
                self._pass_on(verb, argument)

    def _note_alive(self, alive_time: float) -> None:
        # What counts is when the node wrote, not when we got round to reading.
        if self._frozen_seconds and alive_time - self._alive_time >= self._frozen_seconds:
            self.stood_still = True
        self._alive_time = max(self._alive_time, alive_time)

    def note_silence(self) -> None:
        """Nothing is left to read: judge how long ago the node wrote."""
        if self._frozen_seconds and _now() - self._alive_time >= self._frozen_seconds:
            self.stood_still = True

    def wait_seconds(self) -> float:
        """Return the time until something may be due."""
        times = list(self._ends.values())
        if self._frozen_seconds:
            times.append(self._alive_time + self._frozen_seconds)
        left = min(times, default=_now() + _LONGEST_WAIT_SECONDS) - _now()
        return min(max(_SHORTEST_WAIT_SECONDS, left), _LONGEST_WAIT_SECONDS)

    def due(self) -> list[str]:
        """Return the prefixes whose time has come."""
        now = _now()
        return [prefix for prefix, end_time in self._ends.items() if end_time <= now]

    def ended(self, prefix: str) -> None:
        """Nothing of a tree is left."""
        self._ends.pop(prefix, None)


def _outlives(node: int, orders: Orders) -> bool:
    """Wait until the node is gone; False: it lives, whatever has become of the pipe.

    The pipe closes when nobody has its other end, so nothing that the node was just starting is still about to become a program.
    """
    deadline = _now() + _GONE_SECONDS
    is_closed = False
    while not is_closed or os.getppid() == node:
        if _now() >= deadline:
            return False
        if is_closed:
            time.sleep(_SHORTEST_WAIT_SECONDS)
        elif select.select([0], [], [], _SHORTEST_WAIT_SECONDS)[0]:
            received = os.read(0, 65536)
            orders.take(received)
            is_closed = not received
    return True


def _have_left(exiting: Callable[[], list[int]]) -> bool:
    """Wait until who is on its way out now has let go of all that it had open; False: it has not in time."""
    deadline = _now() + _EXITING_SECONDS
    leaving = set(exiting())
    while leaving and _now() < deadline:
        time.sleep(_SHORTEST_WAIT_SECONDS)
        leaving.intersection_update(exiting())
    return not leaving


def main(node: int, prefix: str, folder: str, frozen_seconds: float) -> None:
    """Obey until standard input closes or goes silent, then end the node, if it is still there, and its children."""
    # A signal to the node's terminal or pod must not end the reaper before the node.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Loaded now: a host that is short of everything may not be able to when it is needed.
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - pathlib would triple its size
    from orphan_requests import OrphanRequests, see_through  # type: ignore[import-not-found]
    from process_tree import end_tree, exiting, kill_members  # type: ignore[import-not-found]

    orphans = OrphanRequests()
    orders = Orders(frozen_seconds, orphans.take)
    while not orders.stood_still:
        if select.select([0], [], [], orders.wait_seconds())[0]:
            received = os.read(0, 65536)
            if not received:
                break
            orders.take(received)
        elif not select.select([0], [], [], 0)[0]:
            orders.note_silence()
        for due in orders.due():
            # One look at a time: a process that the kernel holds must not hold up the other orders.
            if not kill_members(due):
                orders.ended(due)
    if orders.stood_still and os.getppid() == node:
        message = (
            f"the node stood still for {frozen_seconds:g} s and was killed: its work may be another's by now"
        )
        with contextlib.suppress(OSError):  # nobody reads its log
            os.write(2, f'{{"level":"error","event":"{message}","pid":{node}}}\n'.encode())
        os.kill(node, signal.SIGKILL)
    end_tree(prefix)
    releaser = 0
    if orphans.due and _outlives(node, orders):
        end_tree(prefix)
        if _have_left(exiting):
            with contextlib.suppress(OSError):  # out of processes: the leases run out by themselves
                releaser = orphans.start()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    if releaser:
        see_through(releaser)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]))
