"""Reads ranges of an open file; large ones past the page cache, as runtime.disk_writer writes them and for its reason."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

from runtime.disk_errors import disk_errors
from runtime.errors import DataLoss

DIRECT_FROM_BYTES = 16 * 1024 * 1024
"""Ranges from this size on are read directly: what is short is likely to be read again, and small enough to keep."""

_BLOCK_BYTES = 4096
_NOT_POSSIBLE = {errno.EINVAL, errno.EOPNOTSUPP}


class DiskReader:
    """Reads one range of a file in steps. Not for two threads at once."""

    def __init__(self, file: int, range_bytes: int, step_bytes: int) -> None:
        self._file = file
        self._step_bytes = step_bytes
        self._buffer: mmap.mmap | None = None
        if range_bytes >= DIRECT_FROM_BYTES and hasattr(os, "O_DIRECT"):
            self._open_direct()

    def read(self, offset: int, length: int, chunk_bytes: int) -> list[bytes]:
        """Return at most one step as chunks; raises DataLoss when the file ends before, Unavailable when the disk fails."""
        with disk_errors():
            return self._read(offset, length, chunk_bytes)

    def _read(self, offset: int, length: int, chunk_bytes: int) -> list[bytes]:
        chunks: list[bytes] = []
        if self._buffer is not None:
            chunks = self._read_direct(offset, length, chunk_bytes)
        done = sum(map(len, chunks))
        while done < length:
            chunk = os.pread(self._file, min(chunk_bytes, length - done), offset + done)
            if not chunk:
                raise DataLoss("the content of this file ended too early")
            chunks.append(chunk)
            done += len(chunk)
        return chunks

    def _open_direct(self) -> None:
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) | os.O_DIRECT)
        except OSError as error:
            if error.errno not in _NOT_POSSIBLE:
                raise
            return
        self._buffer = mmap.mmap(-1, self._step_bytes + 2 * _BLOCK_BYTES)

    def _close_direct(self) -> None:
        fcntl.fcntl(self._file, fcntl.F_SETFL, fcntl.fcntl(self._file, fcntl.F_GETFL) & ~os.O_DIRECT)
        self._buffer = None

    def _read_direct(self, offset: int, length: int, chunk_bytes: int) -> list[bytes]:
        """Read whole blocks around the step and cut it out; what is missing is left to the ordinary way."""
        buffer = self._buffer
        assert buffer is not None
        skipped = offset % _BLOCK_BYTES
        blocks = -(-(skipped + length) // _BLOCK_BYTES) * _BLOCK_BYTES
        try:
            got = os.preadv(self._file, [memoryview(buffer)[:blocks]], offset - skipped)
        except OSError as error:
            if error.errno not in _NOT_POSSIBLE:
                raise
            got = 0
        end = min(skipped + length, got)
        chunks = [buffer[at : min(end, at + chunk_bytes)] for at in range(skipped, end, chunk_bytes)]
        if end < skipped + length:
            self._close_direct()
        return chunks
