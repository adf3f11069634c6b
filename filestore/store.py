"""The file store as its callers know it: checked names, limits, quota and counts over any backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filestore import metrics, pages
from filestore.backend import (
    WHOLE,
    Backend,
    ByteRange,
    Chunk,
    Deletion,
    FileInfo,
    FilePage,
    Loan,
    NewFile,
    OpenFile,
    Usage,
)
from filestore.names import (
    checked_bucket,
    checked_folder,
    checked_path,
    checked_prefix,
    checked_sha256,
    content_type_of,
)
from filestore.quota import Quota, Reservation
from filestore.settings import FilestoreSection
from filestore.signing import PresignMethod
from runtime.errors import InvalidArgument, PayloadTooLarge, PermissionDenied, ResourceExhausted, YiVideoError
from runtime.logs import get_logger

log = get_logger(__name__)

MIB = 1024 * 1024
MAX_PAGE = 1000
DEFAULT_EXPIRES_SECONDS = 86_400
MAX_EXPIRES_SECONDS = 604_800
_PING_SECONDS = 5.0


class Room:
    """What one upload may fill."""

    def __init__(self, store: FileStore, reservation: Reservation | None) -> None:
        self._store = store
        self._reservation = reservation

    def cover(self, size_bytes: int) -> None:
        """Have room for so many bytes in all; raises PayloadTooLarge and QuotaExceeded."""
        self._store.check_size(size_bytes)
        if self._reservation is not None:
            self._reservation.cover(size_bytes)

    async def stored(self, info: FileInfo) -> FileInfo:
        """Count the file that has appeared, and return it."""
        if self._reservation is not None:
            await self._store.changed(1, info.size_bytes, self._reservation)
        return info


class Lent:
    """One file in the hands of a writer on this machine."""

    def __init__(self, loan: Loan, room: Room) -> None:
        self._loan = loan
        self._room = room
        self.path = loan.path

    def cover(self, size_bytes: int) -> None:
        """Take note of how far the writer is; raises PayloadTooLarge and QuotaExceeded."""
        self._room.cover(size_bytes)

    async def commit(self, size_bytes: int, sha256: str) -> FileInfo:
        """Make the file appear; raises InvalidArgument for content that was not announced so, and FileExists."""
        self._room.cover(size_bytes)
        return await self._room.stored(await self._loan.commit(size_bytes, checked_sha256(sha256)))


class FileStore:
    """Names, limits and counts; the bytes are the backend's."""

    def __init__(self, backend: Backend, section: FilestoreSection) -> None:
        self.backend = backend
        self.section = section
        self.quota = Quota(section.quota_mib * MIB)
        self._transfers = 0

    async def start(self) -> None:
        """Start the backend and count what it holds."""
        await self.backend.start(self.section.default_bucket)
        await self.recount()

    async def put(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        """Write one file, atomically; see Backend.put. Raises PayloadTooLarge and QuotaExceeded before they are reached."""
        file = self._checked(file)
        with self._room(file) as room:
            return await room.stored(await self.backend.put(file, self._limited(chunks, room)))

    @asynccontextmanager
    async def lend(self, file: NewFile) -> AsyncIterator[Lent]:
        """Let a writer on this machine write one file; see Backend.lend. The limits are those of `put`."""
        file = self._checked(file)
        with self._room(file) as room:
            async with self.backend.lend(file) as loan:
                yield Lent(loan, room)

    @asynccontextmanager
    async def open(self, bucket: str, path: str, wanted: ByteRange = WHOLE) -> AsyncIterator[OpenFile]:
        """Read one file or a range of it; see Backend.open."""
        if wanted.length_bytes < 0:
            raise InvalidArgument.at("/length_bytes", "must be 0 or more")
        with self._transfer("down"):
            async with self.backend.open(self._bucket(bucket), checked_path(path), wanted) as opened:
                yield opened

    async def locate(self, bucket: str, path: str) -> tuple[FileInfo, Path]:
        """Return where on this machine a file's content lies; see Backend.locate."""
        return await self.backend.locate(self._bucket(bucket), checked_path(path))

    async def stat(self, bucket: str, path: str) -> FileInfo:
        """Describe one file; raises FileNotFound."""
        return await self.backend.stat(self._bucket(bucket), checked_path(path))

    async def list_page(
        self, bucket: str, prefix: str, *, recursive: bool, page_size: int, token: str
    ) -> tuple[FilePage, str]:
        """Return one page and the token of the next; raises InvalidArgument for a token of another listing."""
        bucket, prefix = self._bucket(bucket), checked_prefix(prefix)
        if not 0 <= page_size <= MAX_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 0 to {MAX_PAGE}")
        after = pages.from_token(bucket, prefix, recursive, token)
        page = await self.backend.list_page(
            bucket, prefix, recursive=recursive, limit=page_size or MAX_PAGE, after=after
        )
        return page, pages.to_token(bucket, prefix, recursive, page.last)

    async def delete(self, bucket: str, path: str) -> FileInfo:
        """Delete one file; raises FileNotFound."""
        info = await self.backend.delete(self._bucket(bucket), checked_path(path))
        if info.bucket == self.section.default_bucket:
            await self.changed(-1, -info.size_bytes)
        return info

    async def delete_folder(self, bucket: str, prefix: str) -> Deletion:
        """Delete every file of a folder; deleting nothing is a success."""
        bucket = self._bucket(bucket)
        done = await self.backend.delete_prefix(bucket, checked_folder(prefix))
        if bucket == self.section.default_bucket:
            await self.changed(-done.deleted, -done.deleted_bytes)
        return done

    async def presign(
        self,
        bucket: str,
        path: str,
        method: PresignMethod,
        expires_seconds: int,
        *,
        download_name: str,
        internal: bool,
    ) -> tuple[str, datetime]:
        """Return a URL and when it stops working; raises FileNotFound for a GET of nothing, WrongState without a way in."""
        bucket, path = self._bucket(bucket), checked_path(path)
        expires_seconds = expires_seconds or DEFAULT_EXPIRES_SECONDS
        if not 1 <= expires_seconds <= MAX_EXPIRES_SECONDS:
            raise InvalidArgument.at("/expires_seconds", f"must be 1 to {MAX_EXPIRES_SECONDS}")
        if len(download_name) > 255 or not download_name.isprintable():
            raise InvalidArgument.at("/download_name", "at most 255 printable characters")
        if method is PresignMethod.GET:
            await self.backend.stat(bucket, path)
        url = await self.backend.presign(
            bucket, path, method, expires_seconds, download_name=download_name, internal=internal
        )
        if url.startswith("/") and not internal:  # a link that the gateway serves
            url = self.section.gateway_url + url
        return url, datetime.now(UTC) + timedelta(seconds=expires_seconds)

    def verify_presigned(self, bucket: str, path: str, method: PresignMethod, token: str) -> str:
        """Return the download name of a good token; raises PermissionDenied for any other."""
        bucket, path = self._bucket(bucket), checked_path(path)
        if self.backend.signer is None:
            raise PermissionDenied("this store's own links do not go through the gateway")
        return self.backend.signer.verify(bucket, path, method, token)

    async def healthy(self) -> bool:
        """Return whether the store answers within five seconds."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self.backend.ping()
        except (YiVideoError, TimeoutError) as error:
            log.warning("the object store does not answer", reason=str(error))
            answered = False
        else:
            answered = True
        metrics.HEALTHY.set(answered)
        return answered

    async def recount(self) -> None:
        """Take the store's own count of the default bucket."""
        self.quota.counted(await self.backend.usage(self.section.default_bucket))

    async def clean(self) -> int:
        """Remove uploads that were abandoned long ago; returns how many."""
        removed = await self.backend.clean(self.section.default_bucket, self.section.partial_age_seconds)
        metrics.CLEANED_UPLOADS.inc(removed)
        return removed

    @property
    def used(self) -> Usage:
        """What the default bucket holds, as last counted."""
        return self.quota.used

    def _bucket(self, bucket: str) -> str:
        default = self.section.default_bucket
        if not bucket or bucket == default:
            return default
        if self.section.buckets and bucket not in self.section.buckets:
            raise PermissionDenied("this bucket is not among filestore.buckets")
        return checked_bucket(bucket)

    def check_size(self, size_bytes: int) -> None:
        """Raise InvalidArgument or PayloadTooLarge for a size that no file may have."""
        if size_bytes < 0:
            raise InvalidArgument.at("/size_bytes", "must be 0 or more")
        if size_bytes > self.section.max_file_mib * MIB:
            raise PayloadTooLarge(f"a file may have {self.section.max_file_mib} MiB")

    def _checked(self, file: NewFile) -> NewFile:
        self.check_size(file.size_bytes or 0)
        return replace(
            file,
            bucket=self._bucket(file.bucket),
            path=checked_path(file.path),
            content_type=content_type_of(file.path, file.content_type),
            sha256=checked_sha256(file.sha256),
        )

    @contextmanager
    def _room(self, file: NewFile) -> Iterator[Room]:
        """Hold what an upload needs for the time of a block: a place among the transfers, and room in the default bucket."""
        counted = file.bucket == self.section.default_bucket
        announced = (file.size_bytes or 0) if counted else 0
        with self._transfer("up"), self.quota.reserved(announced) as reservation:
            yield Room(self, reservation if counted else None)

    async def _limited(self, chunks: AsyncIterator[Chunk], room: Room) -> AsyncIterator[Chunk]:
        received = 0
        async for chunk in chunks:
            received += len(chunk)
            room.cover(received)
            yield chunk

    async def changed(self, files: int, size_bytes: int, reservation: Reservation | None = None) -> None:
        """Count what an upload added to the default bucket, or a delete took (negative)."""
        used = await self.backend.usage(self.section.default_bucket) if self.backend.counts_at_once else None
        # From here on in one step: the bytes are counted once, as reserved or as stored, at every instant.
        if reservation is not None:
            reservation.release()
        if used is not None:
            self.quota.counted(used)
        else:
            self.quota.changed(files, size_bytes)

    @contextmanager
    def _transfer(self, direction: str) -> Iterator[None]:
        """Hold one of the places for transfers; raises ResourceExhausted when all are taken."""
        if self._transfers >= self.section.max_transfers:
            metrics.REFUSED_TRANSFERS.inc()
            raise ResourceExhausted("too many transfers at the same time", retry_after_seconds=1.0)
        self._transfers += 1
        metrics.TRANSFERS.labels(direction).inc()
        try:
            yield
        finally:
            self._transfers -= 1
            metrics.TRANSFERS.labels(direction).dec()
