"""The file store as its callers know it: checked names, limits, quota and counts over any backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from filestore import metrics, pages
from filestore.access import EVERYBODY, AccessRules, Caller, Guard, checked_task_id
from filestore.addresses import Addresses
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
    SignedUrl,
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
from filestore.room import Lent, Room
from filestore.settings import FilestoreSection
from filestore.signing import Grant, PresignMethod
from runtime.errors import (
    FileExists,
    FileNotFound,
    InvalidArgument,
    PayloadTooLarge,
    PermissionDenied,
    ResourceExhausted,
    YiVideoError,
)
from runtime.logs import get_logger
from runtime.seldom import Seldom

log = get_logger(__name__)
seldom = Seldom(log)

MIB = 1024 * 1024
MAX_PAGE = 1000
MAX_PARTS = 10_000
PARTS_FOLDER = ".parts/"
"""Where clients put the parts of uploads."""
DEFAULT_EXPIRES_SECONDS = 86_400
MAX_EXPIRES_SECONDS = 604_800
_PING_SECONDS = 5.0


class FileStore:
    """Names, limits and counts; the bytes are the backend's."""

    def __init__(self, backend: Backend, section: FilestoreSection) -> None:
        self.backend = backend
        self.section = section
        self.quota = Quota(section.quota_mib * MIB)
        self._addresses = Addresses(section)
        self._rules = AccessRules(section.shared_prefixes, share_anonymous=section.share_anonymous)
        self._transfers = 0

    async def start(self) -> None:
        """Start the backend and count what it holds."""
        await self.backend.start(self.section.default_bucket)
        await self.recount()

    def announced(self, file: NewFile, caller: Caller, *, if_absent: bool) -> NewFile:
        """Return a file that a caller is about to write: theirs, and allowed to replace what the rules let them replace."""
        task_id = checked_task_id(file.task_id)
        guard = self._rules.replacing(caller, task_id=task_id, if_absent=if_absent)
        return replace(file, owner=caller.user, may_replace=guard)

    async def put(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        """Write one file, atomically; see Backend.put. Raises PayloadTooLarge and QuotaExceeded before they are reached."""
        file = self._checked(file)
        with self._room(file) as room:
            return await room.stored(await self.backend.put(file, self._limited(chunks, room)))

    async def compose(
        self, file: NewFile, parts: Sequence[str], caller: Caller, *, delete_parts: bool = False
    ) -> FileInfo:
        """Write one file out of others of its bucket, within the limits of `put`. Raises FileNotFound for a missing part.

        It holds one place from the first part to the last. `delete_parts` deletes the caller's own, where still what was read.
        """
        if not 1 <= len(parts) <= MAX_PARTS:
            raise InvalidArgument.at("/parts", f"must be 1 to {MAX_PARTS} paths")
        if file.path in parts:
            raise InvalidArgument.at("/parts", "the file to write cannot be one of its parts")
        read: dict[str, FileInfo] = {}

        async def chunks() -> AsyncGenerator[Chunk]:
            for part in parts:
                async with self._opening(file.bucket, part, WHOLE, caller) as opened:
                    read[part] = opened.info
                    async for chunk in opened.chunks:
                        yield chunk

        # Closed here and now: a part that was being read when the caller left does not stay open until the garbage collector comes.
        async with aclosing(chunks()) as content:
            info = await self.put(file, content)
        for part, version in read.items() if delete_parts else ():
            # Gone already; another one by now; shared, and not the caller's to delete.
            with suppress(FileNotFound, PermissionDenied, FileExists):
                await self._delete(file.bucket, part, self._rules.deleting_version(caller, version))
        return info

    @asynccontextmanager
    async def lend(self, file: NewFile) -> AsyncIterator[Lent]:
        """Let a writer on this machine write one file; see Backend.lend. The limits are those of `put`."""
        file = self._checked(file)
        with self._room(file) as room:
            async with self.backend.lend(file) as loan:
                yield Lent(loan, room)

    @asynccontextmanager
    async def open(
        self, bucket: str, path: str, wanted: ByteRange = WHOLE, caller: Caller = EVERYBODY
    ) -> AsyncIterator[OpenFile]:
        """Read one file or a range of it; see Backend.open. What was opened is what was checked."""
        if wanted.length_bytes < 0:
            raise InvalidArgument.at("/length_bytes", "must be 0 or more")
        with self._transfer("down"):
            async with self._opening(bucket, path, wanted, caller) as opened:
                yield opened

    def _opening(
        self, bucket: str, path: str, wanted: ByteRange, caller: Caller
    ) -> AbstractAsyncContextManager[OpenFile]:
        readable = partial(self._rules.require_readable, caller)
        return self.backend.open(self._bucket(bucket), checked_path(path), wanted, readable)

    async def locate(self, bucket: str, path: str, caller: Caller = EVERYBODY) -> tuple[FileInfo, Path]:
        """Return where on this machine a file's content lies; see Backend.locate."""
        info, place = await self.backend.locate(self._bucket(bucket), checked_path(path))
        return self._rules.require_readable(caller, info), place

    async def stat(self, bucket: str, path: str, caller: Caller = EVERYBODY) -> FileInfo:
        """Describe one file; raises FileNotFound."""
        info = await self.backend.stat(self._bucket(bucket), checked_path(path))
        return self._rules.require_readable(caller, info)

    async def list_page(
        self,
        bucket: str,
        prefix: str,
        *,
        recursive: bool,
        page_size: int,
        token: str,
        caller: Caller = EVERYBODY,
    ) -> tuple[FilePage, str]:
        """Return one page and the token of the next; raises InvalidArgument for a token of another listing."""
        bucket, prefix = self._bucket(bucket), checked_prefix(prefix)
        if not 0 <= page_size <= MAX_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 0 to {MAX_PAGE}")
        after = pages.from_token(bucket, prefix, recursive, token)
        page = await self.backend.list_page(
            bucket,
            prefix,
            recursive=recursive,
            limit=page_size or MAX_PAGE,
            after=after,
            reach=self._rules.readable(caller),
        )
        return page, pages.to_token(bucket, prefix, recursive, page.last)

    async def delete(
        self, bucket: str, path: str, caller: Caller = EVERYBODY, *, task_id: str = ""
    ) -> FileInfo:
        """Delete one file, one that a task has stored when `task_id` is given; raises FileNotFound, PermissionDenied."""
        return await self._delete(bucket, path, self._rules.deleting(caller, checked_task_id(task_id)))

    async def _delete(self, bucket: str, path: str, guard: Guard) -> FileInfo:
        info = await self.backend.delete(self._bucket(bucket), checked_path(path), guard)
        if info.bucket == self.section.default_bucket:
            await self.changed(-1, -info.size_bytes)
        return info

    async def delete_folder(
        self, bucket: str, prefix: str, caller: Caller = EVERYBODY, *, task_id: str = ""
    ) -> Deletion:
        """Delete the caller's files of a folder, those that one task has stored when `task_id` is given; nothing is a success."""
        bucket = self._bucket(bucket)
        reach = self._rules.own(caller, checked_task_id(task_id))
        done = await self.backend.delete_prefix(bucket, checked_folder(prefix), reach)
        if bucket == self.section.default_bucket:
            await self.changed(-done.deleted, -done.deleted_bytes)
        return done

    async def presign(
        self, bucket: str, path: str, grant: Grant, *, internal: bool
    ) -> tuple[SignedUrl, datetime]:
        """Return a URL and when it stops working; raises FileNotFound for a GET of nothing, WrongState without a way in."""
        bucket, path = self._bucket(bucket), checked_path(path)
        grant = replace(grant, expires_seconds=grant.expires_seconds or DEFAULT_EXPIRES_SECONDS)
        if not 1 <= grant.expires_seconds <= MAX_EXPIRES_SECONDS:
            raise InvalidArgument.at("/expires_seconds", f"must be 1 to {MAX_EXPIRES_SECONDS}")
        if len(grant.download_name) > 255 or not grant.download_name.isprintable():
            raise InvalidArgument.at("/download_name", "at most 255 printable characters")
        guard = self._rules.replacing(grant.caller, task_id=checked_task_id(grant.task_id))
        if grant.method is PresignMethod.GET:
            self._rules.require_readable(grant.caller, await self.backend.stat(bucket, path))
        made = await self.backend.presign(bucket, path, grant, internal=internal, may_replace=guard)
        if made.url.startswith("/") and not internal:  # a link that the gateway serves
            made = replace(made, url=self.section.gateway_url + made.url)
        return made, datetime.now(UTC) + timedelta(seconds=grant.expires_seconds)

    def verify_presigned(self, bucket: str, path: str, method: PresignMethod, token: str) -> Grant:
        """Return what a good token grants; raises PermissionDenied for any other."""
        bucket, path = self._bucket(bucket), checked_path(path)
        if self.backend.signer is None:
            raise PermissionDenied("this store's own links do not go through the gateway")
        return self.backend.signer.verify(bucket, path, method, token)

    def resolve(self, url: str) -> tuple[str, str, Caller | None] | None:
        """Return bucket and path of a URL of this store, and for whom a signed link may be read; None for any other URL.

        Raises PathRefused, and PermissionDenied for a signed link that is wrong or has expired.
        """
        named = self._addresses.named(url)
        if named is None:
            return None
        bucket, path = self._bucket(named.bucket), checked_path(named.path)
        if named.token is None:
            return bucket, path, None
        return bucket, path, self.verify_presigned(bucket, path, PresignMethod.GET, named.token).caller

    async def healthy(self) -> bool:
        """Return whether the store answers within five seconds."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self.backend.ping()
        except (YiVideoError, TimeoutError) as error:
            seldom.warning("the object store does not answer", reason=str(error))
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
        removed += await self._clean_parts()
        metrics.CLEANED_UPLOADS.inc(removed)
        return removed

    async def _clean_parts(self) -> int:
        """Remove parts that nobody has made a file of for long."""
        bucket, after, removed = self.section.default_bucket, "", 0
        oldest = datetime.now(UTC) - timedelta(seconds=self.section.parts_age_seconds)
        while True:
            page = await self.backend.list_page(
                bucket, PARTS_FOLDER, recursive=True, limit=MAX_PAGE, after=after
            )
            for info in page.files:
                if info.update_time <= oldest:
                    with suppress(FileNotFound):
                        await self.delete(bucket, info.path)
                        removed += 1
            if not page.last:
                return removed
            after = page.last

    @property
    def default_bucket(self) -> str:
        """The bucket that an empty name means, the one that is counted."""
        return self.section.default_bucket

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
        if (named := file.named) is not None:
            late = replace(file, named=lambda: self._checked(named()), sha256=checked_sha256(file.sha256))
            return replace(late, bucket=self.section.default_bucket)
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
