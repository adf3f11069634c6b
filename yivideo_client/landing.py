"""Where a download's bytes land: a range of a local file, filled inside the kernel from plain sockets, else through one buffer.

`splice` hands the pages that the network card or the loopback filled to a pipe and copies them once, into the file's page cache;
a read and a write copy twice. Where socket or file system knows no `splice`, the rest is read and written. Those that fill one
file write by turns: inside the kernel a file has one writer at a time, and the others spin for it, which costs processor time.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from yivideo_client.tries import Broken

STALLED_SECONDS = 60.0
"""Longest silence of a peer in the middle of a transfer."""
READ_BYTES = 1024 * 1024
"""What is moved at a time; more than a pipe of this size is for privileged users."""
_IMPOSSIBLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


class Overlong(Exception):
    """More bytes came than were asked for."""


@dataclass
class Landing:
    """A range of an open local file that is being filled; `at` has where the next byte goes, also when it broke off."""

    descriptor: int
    at: int
    end: int
    told: Callable[[int], None]
    """Called, in the thread that fills, with how many more bytes are here."""
    in_kernel: bool = hasattr(os, "splice")
    turn: AbstractContextManager[object] = field(default_factory=threading.Lock)
    """Held while the file is written; the same for all that fill one file."""
    _written_seconds: float = 0.0
    _writing_since: float | None = None

    def writing_seconds(self) -> float:
        """Return how long the file, or a turn at it, was waited for; what is left of the time the network was."""
        since = self._writing_since
        return self._written_seconds + (time.monotonic() - since if since is not None else 0.0)

    def fill(self, response: http.client.HTTPResponse, *, plain: bool) -> None:
        """Take an answer's body; `plain`: its socket gives the bytes as they are. Raises Broken, Overlong, OSError of the disk."""
        # What came with the head lies in a buffer of the library; this takes all of it.
        self._write(response.read1(max(READ_BYTES, io.DEFAULT_BUFFER_SIZE)))
        left = response.length
        if left is None:  # it comes in chunks, or to the connection's end
            while piece := response.read1(READ_BYTES):
                self._write(piece)
            return
        if self.at + left > self.end:
            raise Overlong
        if left and response.fp is None:  # the library closes what has ended
            raise Broken("the answer ended early")
        raw: Any = response.fp and response.fp.raw  # behind it: each read is one of the socket
        if left and plain and self.in_kernel:
            left = self._splice(raw.fileno(), left)
        if left:
            self._copy(raw, left)
        response.length = 0
        response.close()

    def take(self, piece: bytes) -> None:
        """Take the next bytes of the range. Raises Overlong, OSError of the disk."""
        self._write(piece)

    def _check_room(self, piece: bytes | memoryview) -> None:
        if self.at + len(piece) > self.end:
            raise Overlong

    def _write(self, piece: bytes | memoryview) -> None:
        self._check_room(piece)
        view = memoryview(piece)
        while view:
            with self._at_the_file():
                written = os.pwrite(self.descriptor, view, self.at)
            self._landed(written)
            view = view[written:]

    @contextmanager
    def _at_the_file(self) -> Iterator[None]:
        self._writing_since = began = time.monotonic()
        try:
            with self.turn:
                yield
        finally:
            self._written_seconds += time.monotonic() - began
            self._writing_since = None

    def _landed(self, count: int) -> None:
        self.at += count
        self.told(count)

    def _copy(self, raw: Any, left: int) -> None:
        view = memoryview(bytearray(min(READ_BYTES, left)))
        while left:
            count = raw.readinto(view[:left])
            if not count:
                raise Broken("the answer ended early")
            self._write(view[:count])
            left -= count

    def _splice(self, source: int, left: int) -> int:
        """Move bytes from a socket; returns how many are left because this kernel, or the file's system, does not do it."""
        ready = select.poll()
        ready.register(source, select.POLLIN)
        with _pipe() as (out, into):
            while left and self.in_kernel:
                try:
                    came = os.splice(source, into, min(left, READ_BYTES))
                except BlockingIOError:
                    if not ready.poll(STALLED_SECONDS * 1000):
                        raise TimeoutError("the answer stands still") from None
                    continue
                except OSError as error:
                    if error.errno not in _IMPOSSIBLE:
                        raise
                    self.in_kernel = False
                    break
                if not came:
                    raise Broken("the answer ended early")
                left -= came
                self._drain(out, came)
        return left

    def _drain(self, out: int, count: int) -> None:
        while count:
            moved = 0
            if self.in_kernel:
                try:
                    with self._at_the_file():
                        moved = os.splice(out, self.descriptor, count, offset_dst=self.at)
                    self._landed(moved)
                except OSError as error:
                    if error.errno not in _IMPOSSIBLE:
                        raise
                    self.in_kernel = False
            if not self.in_kernel:
                piece = os.read(out, count)
                moved = len(piece)
                self._write(piece)
            count -= moved


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    import fcntl  # not there on every system that has no `splice` either

    out, into = os.pipe()
    try:
        with suppress(OSError):  # a smaller one does, too
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, READ_BYTES)
        yield out, into
    finally:
        os.close(out)
        os.close(into)
