"""Reads a download from the filestore's own folder when that is on this machine, past the filestore.

The filestore says where the content lies (FileService.LocateFile); see docs/adr/0007-files-in-place.md.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

from gateway.clients.cooldown import Cooldown
from gateway.clients.direct import ranged
from runtime.disk_range import DiskRange
from runtime.disk_reader import DiskReader
from runtime.errors import Unimplemented, WrongState, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import rpc_errors
from runtime.threads import Threads
from yivideo.file.v1 import file_pb2

if TYPE_CHECKING:
    from yivideo.file.v1.file_pb2_grpc import FileServiceAsyncStub

log = get_logger(__name__)

_STEP_BYTES = 1024 * 1024
"""What one download reads ahead; it holds about three times that."""
_CHUNK_BYTES = 1024 * 1024
_COOLDOWN_SECONDS = 60.0
"""How long a filestore is left alone that has no folder, or is on another machine."""
_THREADS = 4


class InPlaceBody:
    """The content of one file, or a range of it: for the kernel to send, or read by a thread a step ahead of what is sent."""

    def __init__(self, header: file_pb2.DownloadHeader, file: int, threads: Threads) -> None:
        self.header = header
        self._file = file
        self._threads = threads
        self._at = header.offset_bytes
        self._end = header.offset_bytes + header.length_bytes
        self._chunks: list[bytes] = []
        self._ahead: asyncio.Future[list[bytes]] | None = None
        self._reader: DiskReader | None = None
        self.range = DiskRange(file, header.offset_bytes, header.length_bytes, threads)
        """Where the bytes are, for who can send them without reading them."""

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end. Raises DataLoss when the disk has less, Unavailable when it fails."""
        if self._reader is None:
            self._reader = DiskReader(self._file, self.header.length_bytes, _STEP_BYTES)
            self._begin(self._reader)
        if not self._chunks and self._ahead is not None:
            self._chunks = (await self._threads.wait(self._ahead))[::-1]
            self._begin(self._reader)
        return self._chunks.pop() if self._chunks else b""

    async def aclose(self) -> None:
        """Wait for the thread, which may still read, and close the file."""
        if self._ahead is not None:
            await self._threads.settle(self._ahead)
        os.close(self._file)

    def _begin(self, reader: DiskReader) -> None:
        size = min(_STEP_BYTES, self._end - self._at)
        self._ahead = self._threads.begin(reader.read, self._at, size, _CHUNK_BYTES) if size > 0 else None
        self._at += size


class InPlaceReads:
    """Finds out whether the filestore's folder is on this machine, and keeps the threads that read from it."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._threads = Threads("download", _THREADS)
        self._cooldown = Cooldown(_COOLDOWN_SECONDS)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.close()

    async def open(
        self, files: FileServiceAsyncStub, request: file_pb2.DownloadRequest
    ) -> InPlaceBody | None:
        """Return what the filestore's Download would send; None when it cannot be had this way.

        None also for what is to be refused: the filestore says why.
        """
        if not self._wanted or self._cooldown.active:
            return None
        try:
            async with rpc_errors():
                wanted = file_pb2.LocateFileRequest(
                    bucket=request.bucket, path=request.path, caller=request.caller
                )
                found = await files.LocateFile(wanted)
        except (WrongState, Unimplemented) as refused:
            self._start_cooldown(refused.message)
            return None
        except YiVideoError as error:
            log.debug("no read in place", code=error.code, reason=error.message)
            return None
        header = ranged(found.file, request)
        if not header.length_bytes:
            return None
        file = await self._threads.acquire(_closed, _opened, found.local_path, found.file.size_bytes)
        if file is None:
            self._start_cooldown("the content cannot be opened here")
            return None
        return InPlaceBody(header, file, self._threads)

    def _start_cooldown(self, reason: str) -> None:
        self._cooldown.start()
        log.debug("files come through the filestore", reason=reason, again_in_seconds=_COOLDOWN_SECONDS)


def _closed(file: int | None) -> None:
    if file is not None:
        os.close(file)


def _opened(path: str, size_bytes: int) -> int | None:
    """Open a content; None when it is not here, or is not what the store says it is."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
        os.close(file)
        return None
    return file
