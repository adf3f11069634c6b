"""Where a download's bytes go that has no place to come back to: a pipe, a terminal, a device, in the order of the file.

Such a target is written to and never replaced: what lies beside a plain file until it is whole would take its name.
"""

from __future__ import annotations

import os
import select
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yivideo_client.landing import Landing

_LOOK_SECONDS = 0.2
"""How soon a writer that waits for its reader sees that it is to stop."""
_MOST_LINKS = 40


class ReaderGone(Exception):
    """Whoever read has closed the pipe. No OSError: it is no fault of the connection to the server."""


@dataclass
class Pouring(Landing):
    """A file that is written once, from its first byte to its last; what is out is not taken back."""

    in_kernel: bool = False
    digest: Any = None
    """A hash that is told each byte."""
    stopped: bool = False
    """Set to have the thread that writes end, also while nobody reads."""

    def _write(self, piece: bytes | memoryview) -> None:
        self._check_room(piece)
        view = memoryview(piece)
        while view:
            written = self._written(view)
            if self.digest is not None:
                self.digest.update(view[:written])
            self._landed(written)
            view = view[written:]

    def _written(self, view: memoryview) -> int:
        ready = select.poll()
        ready.register(self.descriptor, select.POLLOUT)
        while not ready.poll(_LOOK_SECONDS * 1000):
            if self.stopped:
                raise ReaderGone
        try:
            # As much as a pipe that is ready takes at once: more of it might wait for the reader, where nobody can stop it.
            return os.write(self.descriptor, view[: select.PIPE_BUF])
        except (BrokenPipeError, ConnectionResetError):
            raise ReaderGone from None


def opened_stream(target: Path) -> int | None:
    """Open a target that is written in order, and return its descriptor; None for a plain file, or one that is yet to be made.

    What leads to an open file of a process (`/dev/stdout`) is one, whatever that file is: it was opened to be written on.
    """
    open_file = _open_file(target)
    if open_file is not None and open_file.parent == Path("/proc/self/fd").resolve():
        return os.dup(int(open_file.name))  # opened anew, a plain file would be written from its beginning
    if open_file is None and not _is_special(target):
        return None
    return os.open(target, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0))


def _is_special(target: Path) -> bool:
    try:
        kind = target.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def _open_file(target: Path) -> Path | None:
    """Return the entry in a process's table of open files that links lead to; None: they lead elsewhere."""
    for _ in range(_MOST_LINKS):
        at = target.parent.resolve() / target.name
        if at.parts[1:2] == ("proc",) and at.parent.name == "fd":
            return at
        if not at.is_symlink():
            return None
        target = at.parent / at.readlink()
    return None
