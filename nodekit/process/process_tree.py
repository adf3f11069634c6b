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
_PF_EXITING = 0x4
_PF_KTHREAD = 0x200000
_LOOKS = 5
"""Most of them that the ends of others cost us: on a busy host there is always one."""
_LOOK_AGAIN_SECONDS = 0.001
_LONGEST_EXEC_SECONDS = 0.2
"""How long an exec may keep us waiting: 0.1 ms as a rule, more where its process must wait for a CPU or a disk in it."""


def members(prefix: str, sessions: Iterable[int] = ()) -> list[int]:
    """Return the living processes whose mark begins with the prefix, or whose session is one of these; never this process.

    An empty answer rests on a look that was sure (see `_Look`), unless none was within bounds. An answer with somebody in it may
    lack others: who ends a tree looks until nobody is left. Blocks, some milliseconds as a rule.
    """
    wanted = f"{MARK_VARIABLE}={prefix}".encode()
    in_sessions = frozenset(sessions)
    ended: set[str] = set()
    deadline = time.monotonic() + _LONGEST_EXEC_SECONDS
    looks = 1
    while True:
        look = _Look(wanted, in_sessions, ended)
        may_look_again = time.monotonic() < deadline if look.saw_exec else look.saw_end and looks < _LOOKS
        if look.found or not may_look_again:
            return look.found
        looks += 1
        time.sleep(_LOOK_AGAIN_SECONDS)


def exiting() -> list[int]:
    """Return this user's processes that are on their way out: dead, and in no tree any more, but with files perhaps still open.

    A device is free when its file is closed, which comes after the process's memory, and with it its mark, is gone.
    """
    found: list[int] = []
    for pid in os.listdir("/proc"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if pid.isdigit() and os.stat(f"/proc/{pid}").st_uid == os.geteuid() and _is_exiting(pid):  # noqa: PTH116
                found.append(int(pid))
    return found


def _is_exiting(pid: str) -> bool:
    fields = _fields(pid)
    # A zombie's first thread has closed its files; others of it (field 20 counts them all) may not have.
    return int(fields[17]) > 1 if fields[0].decode() in _ZOMBIE_STATES else bool(int(fields[6]) & _PF_EXITING)


class _Look:
    """One look at all processes.

    It is not sure when it `saw_exec`, a process that was just becoming another program: the kernel shows no environment from the
    moment exec has replaced the memory until it has laid out the new one. Nor when it `saw_end`, a process that ended after it was
    listed: what it started since then is not in the list. `ended` holds those whose end an earlier look has seen.
    """

    def __init__(self, wanted: bytes, in_sessions: frozenset[int], ended: set[str]) -> None:
        self.found: list[int] = []
        self.saw_exec = False
        self.saw_end = False
        self._wanted = wanted
        self._in_sessions = in_sessions
        self._ended = ended
        for pid in os.listdir("/proc"):  # noqa: PTH208 - the reaper does without pathlib
            if pid.isdigit() and int(pid) != os.getpid():
                try:
                    self._judge(pid)
                except (FileNotFoundError, ProcessLookupError):
                    self._note_end(pid)
                except OSError:
                    continue  # another user's

    def _judge(self, pid: str) -> None:
        state, session, flags, is_laid_out, has_environment = _stat(pid)
        if flags & _PF_KTHREAD:
            return
        if state in _ZOMBIE_STATES:
            self._note_end(pid)
        elif session in self._in_sessions:
            self.found.append(int(pid))
        elif environment := _environment(pid):
            if environment.startswith(self._wanted) or b"\0" + self._wanted in environment:
                self.found.append(int(pid))
        elif flags & _PF_EXITING:
            self._note_end(pid)
        elif has_environment or not is_laid_out:
            self.saw_exec = True

    def _note_end(self, pid: str) -> None:
        if pid not in self._ended:
            self._ended.add(pid)
            self.saw_end = True


def _stat(pid: str) -> tuple[str, int, int, bool, bool]:
    """Return state, session, flags, whether exec has come to its end, and whether there is an environment."""
    fields = _fields(pid)
    # The kernel sets where the code begins (field 26, 0 before) after where the environment does (50) and ends (51).
    is_laid_out = fields[23] != b"0"
    return fields[0].decode(), int(fields[3]), int(fields[6]), is_laid_out, fields[47] != fields[48]


def _fields(pid: str) -> list[bytes]:
    """Return the fields of proc_pid_stat(5) from the third on, the state."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        stat = file.read()
    return stat[stat.rindex(b")") + 2 :].split()


def _environment(pid: str) -> bytes:
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
        return file.read()


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
        self._killed = False
        self._pause_seconds = _FIRST_POLL_SECONDS

    @property
    def overdue_seconds(self) -> float:
        """Seconds since SIGKILL was first due; negative before."""
        return self._clock() - self._kill_time

    def press(self, found: Sequence[int]) -> float:
        """Signal the members that a look has found; return how many seconds to wait before the next look.

        No pause reaches past the end of the grace, and after the kill looks are frequent again.
        """
        left_seconds = -self.overdue_seconds
        if left_seconds <= 0:
            _send(signal.SIGKILL, found)
            if not self._killed:
                self._killed, self._pause_seconds = True, _FIRST_POLL_SECONDS
        else:
            _send(signal.SIGTERM, [pid for pid in found if pid not in self._terminated])
            self._terminated.update(found)
        pause = self._pause_seconds
        self._pause_seconds = min(pause * 2, _LONGEST_POLL_SECONDS)
        return pause if self._killed else min(pause, left_seconds)


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
