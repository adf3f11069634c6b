"""The reaper's own program: `reaper_main.py <mark prefix> <folder or empty> <frozen seconds>`; see `nodekit.reaper`.

Runs isolated and without site-packages, so it loads the process tree module from the file beside it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import struct
import sys
import time

_STAMP = struct.Struct("=d")


def _now() -> float:
    """Return seconds that go on while the machine is suspended: the scheduler's do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def stands_still(frozen_seconds: float) -> bool:
    """Read the node's times until they stop for too long (True) or the pipe closes (False)."""
    last, held = _now(), b""
    while True:
        wait = max(0.0, last + frozen_seconds - _now()) if frozen_seconds else None
        readable, _, _ = select.select([0], [], [], wait)
        if not readable:
            # What counts is when the node wrote, not when we got round to reading.
            if _now() - last >= frozen_seconds and not select.select([0], [], [], 0)[0]:
                return True
            continue
        data = os.read(0, 4096)
        if not data:
            return False
        held += data
        whole = len(held) - len(held) % _STAMP.size
        for (stamp,) in _STAMP.iter_unpack(held[:whole]):
            if frozen_seconds and stamp - last >= frozen_seconds:
                return True
            last = max(last, stamp)
        held = held[whole:]


def main(prefix: str, folder: str, frozen_seconds: float) -> None:
    """Wait until standard input closes or goes silent, then end the node, if it is still there, and its children."""
    # A signal to the node's terminal or pod must not end the reaper before the node.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    node = os.getppid()
    if stands_still(frozen_seconds) and os.getppid() == node:
        message = (
            f"the node stood still for {frozen_seconds:g} s and was killed: its work may be another's by now"
        )
        os.write(2, f'{{"level":"error","event":"{message}","pid":{node}}}\n'.encode())
        os.kill(node, signal.SIGKILL)
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - pathlib would triple its size
    from process_tree import end_tree  # type: ignore[import-not-found]

    end_tree(prefix)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
