"""Keeps contents as files with random names in a folder: written aside, synced, then moved into place.

It knows no paths of users: `filestore.index` says which blob is whose. A blob that the index does not name is the
rest of a crash. Links are never followed, and everything here blocks: it is meant for threads.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.disk_errors import disk_errors
from runtime.disk_writer import Buffer, DiskWriter
from runtime.errors import DataLoss, InvalidArgument, Unavailable


class PartialBlob:
    """A blob that is being written: `begin`, `write`, `seal`, then `keep`; or `discard`, which leaves nothing."""

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs
        self.name = uuid.uuid4().hex
        self._path = blobs.partial / self.name
        self._file = -1
        self._writer: DiskWriter | None = None

    def begin(self, size_bytes: int | None) -> None:
        """Make the file and, when the size is known, reserve its place; raises QuotaExceeded when the disk is full."""
        with disk_errors():
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if size_bytes:
                _reserve(self._file, size_bytes)

    def write(self, batch: Sequence[Buffer]) -> None:
        """Append the chunks; raises QuotaExceeded when the disk is full."""
        with disk_errors():
            if self._writer is None:
                self._writer = DiskWriter(self._file)
            self._writer.write(batch)

    def lend(self) -> Path:
        """Return where another process of this machine writes the content, as long as it is neither sealed nor discarded."""
        return self._path.absolute()

    def seal(self, size_bytes: int) -> None:
        """Put the blob in place, safe against power loss; it can still be discarded until the index names it.

        Raises InvalidArgument when fewer bytes are there.
        """
        with disk_errors():
            there = os.fstat(self._file).st_size
            if there < size_bytes:
                detail = f"{size_bytes} bytes were to be written, {there} are on the disk"
                raise InvalidArgument.at("/trailer/size_bytes", detail)
            # Without a size announced, or with a wrong one, the reservation may be longer than the content.
            os.ftruncate(self._file, size_bytes)
            os.fsync(self._file)
            target = self._blobs.path_of(self.name)
            if not target.parent.is_dir():
                target.parent.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(target.parent.parent)
            self._path.rename(target)
            self._path = target
            _sync_folder(target.parent)

    def keep(self) -> None:
        """Leave the blob where it is: the index names it now."""
        os.close(self._file)
        self._file = -1

    def discard(self) -> None:
        """Remove the blob wherever it is; does nothing to one that never began or is kept."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._path.unlink(missing_ok=True)


class BlobFolder:
    """The folder of all blobs. One process at a time may hold it."""

    def __init__(self, root: Path) -> None:
        self.partial = root / "partial"
        self._blobs = root / "blobs"
        self._root = root
        self._lock = -1

    def acquire(self) -> None:
        """Make the folder and lock it; raises Unavailable when another process has it or it cannot be written."""
        with disk_errors():
            for folder in (self._root, self.partial, self._blobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release()
                raise Unavailable("another filestore process uses this folder") from None

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def path_of(self, name: str) -> Path:
        """Return where a sealed blob lies."""
        return self._blobs / name[:2] / name[2:]

    def open(self, name: str, size_bytes: int) -> int:
        """Open a sealed blob for reading; raises DataLoss when it is gone, cut, or not a plain file."""
        try:
            file = os.open(self.path_of(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise DataLoss("the content of this file is gone from the disk") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DataLoss("the content of this file was replaced by a link") from None
            with disk_errors():
                raise
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
            os.close(file)
            raise DataLoss("the content of this file on the disk is not what was stored")
        return file

    def remove(self, name: str) -> None:
        """Remove a sealed blob; one that is gone already is well."""
        with disk_errors():
            self.path_of(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Yield the name of every sealed blob."""
        for folder in sorted(self._blobs.iterdir()):
            if folder.is_dir() and not folder.is_symlink():
                yield from (folder.name + entry.name for entry in folder.iterdir())

    def partials(self, before: float) -> Iterator[Path]:
        """Yield the files of uploads that have not been written to since `before` (seconds since the epoch)."""
        for path in self.partial.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat(follow_symlinks=False).st_mtime <= before:
                    yield path

    def free_bytes(self) -> int:
        """Return how much the disk can still take; raises Unavailable when it does not answer."""
        with disk_errors():
            figures = os.statvfs(self._blobs)
            return figures.f_bavail * figures.f_frsize


def _reserve(file: int, size_bytes: int) -> None:
    try:
        os.posix_fallocate(file, 0, size_bytes)
    except OSError as error:
        # A file system that cannot reserve is no reason to refuse; a full one is.
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            if error.errno == errno.EFBIG:
                raise InvalidArgument.at("/size_bytes", "no file can be that large here") from None
            raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
