"""What lies beside a download's target until it is whole: the bytes that are here, and of which version of the file they are.

Beside `film.mp4` lie `.film.mp4.part` with the bytes and `.film.mp4.segments` with the ETag they belong to and the segments that
are here. The journal is written behind the bytes of each segment, so that it never promises too much while the machine runs; where
the SHA-256 is known it has the last word. One download at a time has them: two would write, and rename, each other's file.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from yivideo_client.models import StoredFile

_LONGEST_NAME_BYTES = 255
_LONGEST_ENDING = ".segments"


@dataclass
class Journal:
    """Which segments of which version of the file are on the disk."""

    path: Path
    etag: str
    size: int
    segment_bytes: int
    done: set[int] = field(default_factory=set)

    def take_up(self, bytes_here: int) -> None:
        """Go on with what an earlier download left, if it is of the same file; `bytes_here` is how long it left the file."""
        if not self.etag or bytes_here != self.size:
            return
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = orjson.loads(self.path.read_bytes())
            if (kept["etag"], kept["size"], kept["segment"]) == (self.etag, self.size, self.segment_bytes):
                self.done = {int(one) for one in kept["done"]}

    def add(self, segment: int) -> None:
        """Note that a segment's bytes are in the file."""
        self.done.add(segment)
        record = {
            "etag": self.etag,
            "size": self.size,
            "segment": self.segment_bytes,
            "done": sorted(self.done),
        }
        scratch = self.path.with_suffix(".new")
        scratch.write_bytes(orjson.dumps(record))
        scratch.replace(self.path)


@dataclass(frozen=True)
class Partial:
    """The unfinished file of one target, open and held."""

    target: Path
    path: Path
    descriptor: int

    def journal(self, file: StoredFile, segment_bytes: int) -> Journal:
        """Return what is known of its bytes, and give it the length of the whole."""
        journal = Journal(_beside(self.target, ".segments"), file.etag, file.size, segment_bytes)
        journal.take_up(os.fstat(self.descriptor).st_size)
        os.truncate(self.descriptor, file.size)
        return journal

    def finish(self) -> None:
        """Give the target its bytes, in one step."""
        self.path.replace(self.target)
        _forget(_beside(self.target, ".segments"))

    def forget(self) -> None:
        """Remove it with its journal: its bytes are not those that were wanted."""
        _forget(self.path, _beside(self.target, ".segments"))


@contextmanager
def partial(target: Path) -> Iterator[Partial]:
    """Open what lies beside a target, for this download alone; it stays where it is unless it is finished or forgotten.

    Raises FileNotFoundError when the target's folder is not there, IsADirectoryError for a folder, BlockingIOError while another
    download has it.
    """
    target = (
        Path(os.path.realpath(target)) if target.is_symlink() else target
    )  # what it leads to is written, and the link stays
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name", str(target))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    path = _beside(target, ".part")
    descriptor = _held(path, target)
    try:
        yield Partial(target, path, descriptor)
    finally:
        os.close(descriptor)


def _beside(target: Path, ending: str) -> Path:
    """Name a file after a target; a name that leaves no room for the ending is told by its digest."""
    name = target.name
    if len(os.fsencode(f".{name}{_LONGEST_ENDING}")) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return target.with_name(f".{name}{ending}")


def _held(path: Path, target: Path) -> int:
    # No link is followed: in a folder that others may write to it would lead to any file of ours.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        descriptor = os.open(path, flags, 0o644)
        try:
            _lock(descriptor, target)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever had it has just finished: it is the target by now


def _lock(descriptor: int, target: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on every system
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(errno.EWOULDBLOCK, "another download of it is under way", str(target)) from None
    except OSError:
        pass  # a file system without locks


def _forget(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
