"""What uses a device: `python work.py JOURNAL DEVICE TOKEN TASK SECONDS PAUSE GUARD_FILE`.

It writes a line each 10 ms until its time is over, and after a pause, in which it does not use the device, it publishes to a
resource that checks the fence: while the device's register is locked, a token that is older than the newest that was let in is
refused. It listens to no signal that can be ignored.
"""

from __future__ import annotations

import fcntl
import json
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from journal import END, PUBLISH, START, TICK, Journal

_TICK_SECONDS = 0.01


def publish(register: Path, token: int, journal: Journal) -> bool:
    """Hand the result to the resource; returns whether it took it."""
    with register.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        accepted = token >= int(json.loads(register.read_text())["highest"])
        journal.write(PUBLISH, accepted=accepted)
    return accepted


def main() -> int:
    """Use the device, then publish; 3 when the result was refused."""
    path, device, token, task, seconds, pause, register = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    journal = Journal(Path(path), device, int(token), task)
    journal.write(START)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        time.sleep(_TICK_SECONDS)
        journal.write(TICK)
    journal.write(END)
    time.sleep(float(pause))
    return 0 if publish(Path(register), int(token), journal) else 3


if __name__ == "__main__":
    sys.exit(main())
