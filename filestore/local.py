"""The embedded store: one folder on a local disk, for one machine without S3."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from filestore import metrics
from filestore.access import EVERYTHING, Check, Guard, Reach, free
from filestore.backend import (
    WHOLE,
    ByteRange,
    Chunk,
    Deletion,
    FileInfo,
    FilePage,
    Loan,
    NewFile,
    OpenFile,
    SignedUrl,
    Usage,
)
from filestore.blobs import BlobFolder, PartialBlob
from filestore.index import FileIndex, Row
from filestore.intake import check_announced
from filestore.read_ahead import read_chunks
from filestore.signing import Grant, UrlSigner, key_in
from runtime.batches import Checksum, batches
from runtime.disk_writer import DIRECT_BYTES
from runtime.errors import DataLoss
from runtime.logs import get_logger
from runtime.threads import Threads

log = get_logger(__name__)

_DELETE_ROWS = 500


class _LocalLoan:
    def __init__(self, backend: LocalBackend, partial: PartialBlob, file: NewFile) -> None:
        self._backend = backend
        self._partial = partial
        self._file = file
        self.path = partial.lend()

    async def commit(self, size_bytes: int, sha256: str) -> FileInfo:
        return await self._backend.commit(self._partial, size_bytes, sha256, self._file)


class LocalBackend:
    """A store in a folder that this process alone holds. `start` it before use."""

    name = "local"
    counts_at_once = True

    def __init__(self, root: Path, *, threads: int = 8, signing_key: bytes | None = None) -> None:
        self.endpoint = root.name
        self._root = root
        self._blobs = BlobFolder(root)
        self._threads = Threads("local-store", threads)
        self._signing_key = signing_key
        self._opened: FileIndex | None = None
        self.signer: UrlSigner | None = None

    async def start(self, bucket: str) -> None:
        """Lock the folder, open its index, and remove what a crash has left. Buckets need no making here."""
        removed = await self._threads.run(self._open)
        log.info("local store opened", removed_leftovers=removed)

    async def aclose(self) -> None:
        """Close the index and unlock the folder."""
        await self._threads.run(self._close)
        self._threads.close()

    async def put(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        """Write one file; hashing and writing a batch overlaps with the coming of the next."""
        partial = PartialBlob(self._blobs)
        checksum = Checksum()
        try:
            await self._threads.run(partial.begin, file.size_bytes)
            await self._take_all(partial, checksum, chunks)
            return await self._threads.run(self._commit, partial, checksum.size_bytes, checksum.sha256, file)
        finally:
            await self._threads.run(partial.discard)

    @asynccontextmanager
    async def lend(self, file: NewFile) -> AsyncIterator[Loan]:
        """Lend one file that is being written; what its writer still does to it after a discard touches nothing of ours."""
        partial = PartialBlob(self._blobs)
        try:
            await self._threads.run(partial.begin, file.size_bytes)
            yield _LocalLoan(self, partial, file)
        finally:
            await self._threads.run(partial.discard)

    async def commit(self, partial: PartialBlob, size_bytes: int, sha256: str, file: NewFile) -> FileInfo:
        """Make a lent file appear."""
        return await self._threads.run(self._commit, partial, size_bytes, sha256, file)

    @asynccontextmanager
    async def open(
        self, bucket: str, path: str, wanted: ByteRange = WHOLE, readable: Check = free
    ) -> AsyncIterator[OpenFile]:
        """Read one file; the open descriptor keeps its version readable while others replace or delete it."""
        row, file = await self._threads.acquire(_close_blob, self._open_blob, bucket, path)
        try:
            readable(row.info)
            offset, length = wanted.within(row.info)
            chunks = read_chunks(self._threads, file, offset, length)
            try:
                yield OpenFile(row.info, offset, length, chunks)
            finally:
                await chunks.aclose()
        finally:
            os.close(file)

    async def locate(self, bucket: str, path: str) -> tuple[FileInfo, Path]:
        """Say where the content lies; a blob never changes, and one that goes away stays readable for who has it open."""
        row = await self._threads.run(self._index.get, bucket, path)
        return row.info, self._blobs.path_of(row.blob).absolute()

    async def stat(self, bucket: str, path: str) -> FileInfo:
        """Describe one file."""
        return (await self._threads.run(self._index.get, bucket, path)).info

    async def list_page(
        self, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str, reach: Reach = EVERYTHING
    ) -> FilePage:
        """List one page."""
        return await self._threads.run(
            self._index.list_page, bucket, prefix, recursive=recursive, limit=limit, after=after, reach=reach
        )

    async def delete(self, bucket: str, path: str, guard: Guard = free) -> FileInfo:
        """Delete one file."""
        row = await self._threads.run(self._forget, bucket, path, guard)
        return row.info

    async def delete_prefix(self, bucket: str, prefix: str, reach: Reach = EVERYTHING) -> Deletion:
        """Delete a folder, some hundred files at a time."""
        deleted = deleted_bytes = 0
        after = ""
        while True:
            rows, after = await self._threads.run(self._forget_some, bucket, prefix, reach, after)
            deleted += len(rows)
            deleted_bytes += sum(row.info.size_bytes for row in rows)
            if not after:
                return Deletion(deleted, deleted_bytes)

    async def presign(
        self, bucket: str, path: str, grant: Grant, *, internal: bool, may_replace: Guard = free
    ) -> SignedUrl:
        """Return path and query of a URL that the gateway serves; inside and outside it is the same one."""
        if self.signer is None:
            raise RuntimeError("the local store was not started")
        return SignedUrl(self.signer.url(bucket, path, grant))

    async def usage(self, bucket: str) -> Usage:
        """Return the index's own count."""
        return await self._threads.run(self._index.usage, bucket)

    async def clean(self, bucket: str, older_than_seconds: float) -> int:
        """Remove partial files that nobody has written to for that long (their uploads are gone)."""
        return await self._threads.run(self._remove_partials, time.time() - older_than_seconds)

    async def ping(self) -> None:
        """Ask the disk and the index."""
        metrics.FREE_BYTES.set(await self._threads.run(self._blobs.free_bytes))
        await self._threads.run(self._index.usage, "")

    @property
    def _index(self) -> FileIndex:
        if self._opened is None:
            raise RuntimeError("the local store was not started")
        return self._opened

    def _open(self) -> int:
        self._blobs.acquire()
        try:
            index = FileIndex(self._root / "index.sqlite3")
            signer = UrlSigner(self._signing_key or key_in(self._root))
        except BaseException:
            self._blobs.release()
            raise
        self._opened, self.signer = index, signer
        removed = self._remove_partials(float("inf"))
        known = index.blobs()
        for name in list(self._blobs.names()):
            if name not in known:
                self._blobs.remove(name)
                removed += 1
        return removed

    def _close(self) -> None:
        if self._opened is not None:
            self._index.close()
            self._opened = None
            self._blobs.release()

    def _commit(self, partial: PartialBlob, size_bytes: int, sha256: str, file: NewFile) -> FileInfo:
        check_announced(file, size_bytes, sha256)
        file = file.final()
        partial.seal(size_bytes)
        info = FileInfo(
            file.bucket,
            file.path,
            size_bytes,
            sha256,
            file.content_type,
            etag=sha256,
            update_time=datetime.now(UTC),
            owner=file.owner,
            task_id=file.task_id,
        )
        replaced = self._index.put(info, partial.name, file.may_replace)
        partial.keep()
        if replaced is not None:
            self._remove_or_leave(replaced)
        return info

    def _open_blob(self, bucket: str, path: str) -> tuple[Row, int]:
        row = self._index.get(bucket, path)
        while True:
            try:
                return row, self._blobs.open(row.blob, row.info.size_bytes)
            except DataLoss:
                # The file may just have been replaced or deleted; then the index says so.
                now = self._index.get(bucket, path)
                if now.blob == row.blob:
                    raise
                row = now

    def _forget(self, bucket: str, path: str, guard: Guard) -> Row:
        row = self._index.take(bucket, path, guard)
        self._remove_or_leave(row.blob)
        return row

    def _forget_some(self, bucket: str, folder: str, reach: Reach, after: str) -> tuple[list[Row], str]:
        rows, last = self._index.take_some(bucket, folder, _DELETE_ROWS, reach, after)
        for row in rows:
            self._remove_or_leave(row.blob)
        return rows, last

    def _remove_or_leave(self, blob: str) -> None:
        """Remove a blob that no file has any more; if the disk refuses, the next start does it."""
        try:
            self._blobs.remove(blob)
        except Exception:
            log.warning("a blob could not be removed; the next start will", blob=blob, exc_info=True)

    def _remove_partials(self, before: float) -> int:
        removed = 0
        for path in list(self._blobs.partials(before)):
            path.unlink(missing_ok=True)
            removed += 1
        return removed

    async def _take_all(self, partial: PartialBlob, checksum: Checksum, chunks: AsyncIterator[Chunk]) -> None:
        """Write and hash one batch, each in a thread, while the next one comes."""
        under_way: list[asyncio.Future[None]] = []
        try:
            async for batch in batches(chunks, DIRECT_BYTES):
                for future in under_way:
                    await self._threads.wait(future)
                under_way = [
                    self._threads.begin(partial.write, batch),
                    self._threads.begin(checksum.update, batch),
                ]
            for future in under_way:
                await self._threads.wait(future)
        finally:
            await self._threads.settle(*under_way)


def _close_blob(opened: tuple[Row, int]) -> None:
    os.close(opened[1])
