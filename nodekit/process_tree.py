"""Process trees: who belongs to one, and ending it whole.

Signals to a process group miss a child that made a group or session of its own, and a parent's death hides its orphans. So every
child gets a mark in its environment, which whatever it starts inherits through fork and exec; a member of a tree is a process
in the tree's session or with its mark. A program that erases its environment *and* leaves the session is not found.

Marks are paths, `<replica>/<attempt>/<child>/`: a prefix names the trees of a whole attempt or replica.
This file imports only the standard library's light modules, because the reaper (a process of its own) runs it too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence

MARK_VARIABLE = "YIVIDEO_TREE"

_FIRST_POLL_SECONDS = 0.002
_LONGEST_POLL_SECONDS = 0.05
_ZOMBIE_STATES = frozenset("ZX")


def members(prefix: str, sessions: Iterable[int] = ()) -> list[int]:
    """Return the living processes whose mark begins with the prefix, or whose session is one of these; never this process."""
    wanted = f"{MARK_VARIABLE}={prefix}".encode()
    in_sessions = frozenset(sessions)
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - the reaper does without pathlib
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            state, session = _state_and_session(entry)
            if state in _ZOMBIE_STATES:
                continue
            if session in in_sessions or _has_mark(entry, wanted):
                found.append(int(entry))
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def _state_and_session(pid: str) -> tuple[str, int]:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        stat = file.read()
    fields = stat[stat.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[3])


def _has_mark(pid: str, wanted: bytes) -> bool:
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
        environment = file.read()
    return environment.startswith(wanted) or b"\0" + wanted in environment


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Ending:
    """One ending of a tree: SIGTERM to each member once, SIGKILL to all that are left after the grace."""

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kill_time = clock() + grace_seconds
        self._terminated: set[int] = set()
        self._pause_seconds = _FIRST_POLL_SECONDS

    @property
    def overdue_seconds(self) -> float:
        """Seconds since SIGKILL was first due; negative before."""
        return self._clock() - self._kill_time

    def press(self, found: Sequence[int]) -> float:
        """Signal the members that a look has found; return how many seconds to wait before the next look."""
        if self.overdue_seconds >= 0:
            _send(signal.SIGKILL, found)
        else:
            _send(signal.SIGTERM, [pid for pid in found if pid not in self._terminated])
            self._terminated.update(found)
        pause = self._pause_seconds
        self._pause_seconds = min(pause * 2, _LONGEST_POLL_SECONDS)
        return pause


def kill_members(prefix: str) -> int:
    """SIGKILL every member that a look finds; return how many they were."""
    found = members(prefix)
    _send(signal.SIGKILL, found)
    return len(found)


def end_tree(prefix: str) -> None:
    """SIGKILL every member until none is left. Blocks; for the reaper, whose only work it is."""
    ending = Ending(0)
    while found := members(prefix):
        time.sleep(ending.press(found))
