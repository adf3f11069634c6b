"""The file store as its callers know it: checked names, limits, quota and counts over any backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from filestore import metrics, pages
from filestore.backend import (
    WHOLE,
    Backend,
    ByteRange,
    Chunk,
    Deletion,
    FileInfo,
    FilePage,
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
        file = replace(
            file,
            bucket=self._bucket(file.bucket),
            path=checked_path(file.path),
            content_type=content_type_of(file.path, file.content_type),
            sha256=checked_sha256(file.sha256),
        )
        announced = file.size_bytes or 0
        self._check_size(announced)
        counted = file.bucket == self.section.default_bucket
        with self._transfer("up"), self.quota.reserved(announced if counted else 0) as reservation:
            info = await self.backend.put(file, self._limited(chunks, reservation if counted else None))
            if counted:
                await self._changed(1, info.size_bytes, reservation)
        return info

    @asynccontextmanager
    async def open(self, bucket: str, path: str, wanted: ByteRange = WHOLE) -> AsyncIterator[OpenFile]:
        """Read one file or a range of it; see Backend.open."""
        if wanted.length_bytes < 0:
            raise InvalidArgument.at("/length_bytes", "must be 0 or more")
        with self._transfer("down"):
            async with self.backend.open(self._bucket(bucket), checked_path(path), wanted) as opened:
                yield opened

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
            await self._changed(-1, -info.size_bytes)
        return info

    async def delete_folder(self, bucket: str, prefix: str) -> Deletion:
        """Delete every file of a folder; deleting nothing is a success."""
        bucket = self._bucket(bucket)
        done = await self.backend.delete_prefix(bucket, checked_folder(prefix))
        if bucket == self.section.default_bucket:
            await self._changed(-done.deleted, -done.deleted_bytes)
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

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes < 0:
            raise InvalidArgument.at("/size_bytes", "must be 0 or more")
        if size_bytes > self.section.max_file_mib * MIB:
            raise PayloadTooLarge(f"a file may have {self.section.max_file_mib} MiB")

    async def _limited(
        self, chunks: AsyncIterator[Chunk], reservation: Reservation | None
    ) -> AsyncIterator[Chunk]:
        received = 0
        async for chunk in chunks:
            received += len(chunk)
            self._check_size(received)
            if reservation is not None:
                reservation.cover(received)
            yield chunk

    async def _changed(self, files: int, size_bytes: int, reservation: Reservation | None = None) -> None:
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
