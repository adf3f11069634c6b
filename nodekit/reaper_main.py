"""The reaper's own program: `reaper_main.py <mark prefix> <folder or empty>`; see `nodekit.reaper`.

Runs isolated and without site-packages, so it loads the process tree module from the file beside it. Each line on standard
input is an order: `end <CLOCK_BOOTTIME seconds> <mark prefix>`, or `spare <mark prefix>`.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time

_LONGEST_WAIT_SECONDS = 3600.0
_SHORTEST_WAIT_SECONDS = 0.005
"""Between two looks at a tree that the kernel has not taken down yet."""


class Orders:
    """Which trees to end when."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._rest = b""

    def take(self, received: bytes) -> None:
        """Note what complete lines order; the rest waits for its end."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            word, _, argument = line.decode().partition(" ")
            if word == "end":
                seconds, _, prefix = argument.partition(" ")
                self._times[prefix] = float(seconds)
            elif word == "spare":
                self._times.pop(argument, None)

    def wait_seconds(self) -> float | None:
        """Return the time until the next order is due; None: there is none."""
        if not self._times:
            return None
        left = min(self._times.values()) - time.clock_gettime(time.CLOCK_BOOTTIME)
        return min(max(_SHORTEST_WAIT_SECONDS, left), _LONGEST_WAIT_SECONDS)

    def due(self) -> list[str]:
        """Return the prefixes whose time has come."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return [prefix for prefix, due_time in self._times.items() if due_time <= now]

    def obeyed(self, prefix: str) -> None:
        """Nothing of the tree is left."""
        self._times.pop(prefix, None)


def main(prefix: str, folder: str) -> None:
    """Obey until standard input closes, then end the node's children."""
    # A signal to the node's terminal or pod must not end the reaper before the node.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Loaded now: when it is needed, a host that is short of everything may not be able to.
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - pathlib would triple its size
    from process_tree import end_tree, kill_members  # type: ignore[import-not-found]

    orders = Orders()
    while True:
        if select.select([0], [], [], orders.wait_seconds())[0]:
            received = os.read(0, 65536)
            if not received:
                break
            orders.take(received)
        for due in orders.due():
            # Not until nothing is left, as below: a process that the kernel holds must not hold up the other orders.
            if not kill_members(due):
                orders.obeyed(due)
    end_tree(prefix)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
