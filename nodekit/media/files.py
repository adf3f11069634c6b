"""Files: what a node needs of an object store, whichever that is, and moving bytes between disk and elsewhere in chunks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from runtime.errors import PayloadTooLarge
from yivideo.task.v1 import task_pb2

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """One object of the store."""

    bucket: str
    path: str
    size_bytes: int
    sha256: str = ""
    """Lower-case hex; empty when the store does not know it."""
    etag: str = ""


class Files(Protocol):
    """An object store as one task may use it. Every call raises runtime errors (FileNotFound, QuotaExceeded, Unavailable …)."""

    async def stat(self, bucket: str, path: str) -> StoredFile:
        """Describe an object."""

    async def download(self, file: StoredFile, target: Path) -> None:
        """Write an object's bytes to a new local file, whole and checked, or raise."""

    def list(self, bucket: str, prefix: str) -> AsyncIterator[StoredFile]:
        """List every object under a prefix that ends in `/`, in path order."""

    async def upload(self, source: Path, path: str) -> StoredFile:
        """Store a local file in the default bucket; it appears whole and replaces an older one of the same task.

        Raises FileExists and PermissionDenied where something lies that the task has not stored.
        """

    async def delete(self, file: StoredFile) -> None:
        """Delete an object that the task has stored; one that is not there or is not the task's is no error."""

    async def resolve(self, url: str) -> tuple[Files, str, str] | None:
        """Return where in the store a URL leads, as bucket and path, and whose eyes it is read by; None for a URL of elsewhere."""

    async def url(self, file: StoredFile) -> str:
        """Return a URL that reads the object without credentials for a time; empty when the store has none."""


class Store(Protocol):
    """An object store as a node has it."""

    def of_task(self, spec: task_pb2.TaskSpec) -> Files:
        """Return the store as a task may use it: what its user may read, and in place of what the task itself has stored."""

    async def aclose(self) -> None:
        """Close connections."""


class Sink:
    """A local file being written, hashed on the way and bounded in size. Blocking work is done in threads, chunk by chunk."""

    def __init__(self, target: Path, limit_bytes: int) -> None:
        self._target = target
        self._limit_bytes = limit_bytes
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    async def __aenter__(self) -> Sink:
        self._file = await _opened(self._target, "wb")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._file is not None
        await _closed(self._file)

    async def write(self, chunk: bytes) -> None:
        """Append bytes. Raises PayloadTooLarge past the limit."""
        if self.size_bytes + len(chunk) > self._limit_bytes:
            raise too_large(self._limit_bytes)
        await asyncio.to_thread(self._append, chunk)
        self.size_bytes += len(chunk)

    def _append(self, chunk: bytes) -> None:
        assert self._file is not None
        self._file.write(chunk)
        self._hash.update(chunk)

    async def restart(self) -> None:
        """Forget what was written: the source has changed or cannot be resumed."""
        assert self._file is not None
        await asyncio.to_thread(self._file.seek, 0)
        await asyncio.to_thread(self._file.truncate)
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Lower-case hex SHA-256 of what was written."""
        return self._hash.hexdigest()


def too_large(limit_bytes: int) -> PayloadTooLarge:
    """Return the error for media past its limit."""
    return PayloadTooLarge(
        f"the file is larger than {limit_bytes / 1024 / 1024:g} MiB, the limit for its kind"
    )


async def _opened(path: Path, mode: str) -> BinaryIO:
    """Open a file in a thread; when the caller is cancelled meanwhile, what the thread still opens is closed."""
    opening = asyncio.ensure_future(asyncio.to_thread(open, path, mode))
    try:
        return cast(BinaryIO, await asyncio.shield(opening))
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


async def _closed(file: BinaryIO) -> None:
    """Close a file in a thread, also when the caller is cancelled before the thread has begun."""
    await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(file.close)))


def _close(opening: asyncio.Future[Any]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@asynccontextmanager
async def opened_chunks(source: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a file for the time of the block; gives its chunks, each read in a thread.

    The file is closed by the block and not by the iterator, which whoever consumes it may leave in the middle.
    """
    file = await _opened(source, "rb")

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk

    try:
        yield chunks()
    finally:
        await _closed(file)


async def copy_file(source: Path, target: Path, limit_bytes: int = 2**63) -> Sink:
    """Copy a file in chunks; the closed sink tells its size and hash."""
    async with opened_chunks(source) as chunks, Sink(target, limit_bytes) as sink:
        async for chunk in chunks:
            await sink.write(chunk)
    return sink
