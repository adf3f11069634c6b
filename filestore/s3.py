"""The store on any S3: MinIO, Ceph, AWS and their kin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import aiohttp
from minio.xml import unmarshal

from filestore.access import EVERYTHING, Check, Guard, Reach, free
from filestore.backend import (
    READ_BYTES,
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
from filestore.s3_answers import S3Deleted, S3Tags, deletion
from filestore.s3_cleaning import clean
from filestore.s3_copy import copy, forget, incoming_path
from filestore.s3_head import head, named
from filestore.s3_listing import list_page
from filestore.s3_upload import finish_despite_cancel
from filestore.s3_wire import S3Refused, S3Wire
from filestore.s3_write import IN_TAG, TAG, S3Writer, content_md5, owning
from filestore.settings import S3Section
from filestore.signing import Grant, PresignMethod, UrlSigner
from runtime.errors import FileNotFound, Unavailable, WrongState
from runtime.logs import get_logger
from runtime.threads import Threads

log = get_logger(__name__)

MIB = 1024 * 1024
_LIST_ROWS = 1000
_MAX_FAILED_PATHS = 100


class S3Backend:
    """A store on one S3 endpoint. `start` it before use."""

    name = "s3"
    counts_at_once = False

    def __init__(self, section: S3Section, *, threads: int = 4, signer: UrlSigner | None = None) -> None:
        self.endpoint = section.endpoint
        self.signer = signer
        self._section = section
        self._threads = Threads("s3-store", threads)
        self._opened: S3Wire | None = None
        self._bucket = ""

    async def start(self, bucket: str) -> None:
        """Connect, and make the default bucket when it is absent."""
        self._connect()
        self._bucket = bucket
        try:
            await self._wire.call("HEAD", bucket)
        except S3Refused as refused:
            if refused.status != 404:
                raise refused.to_error() from refused
            await self._wire.make_bucket(bucket)
            log.info("bucket made", bucket=bucket)

    def _connect(self) -> None:
        self._opened = self._opened or S3Wire(self._section)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None
        self._threads.close()

    async def put(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        """Write one file: one request when it is small, parts side by side when it is not."""
        if file.named is not None:
            return await self._put_named_last(file, chunks)

        async def condition() -> dict[str, str]:
            return await self._condition(file)

        try:
            # Refused before its bytes come; the write itself is conditional too, on stores that know that.
            await condition()
            checksum = await self._writer.write(file, chunks, condition)
        except S3Refused as refused:
            raise refused.to_error() from refused
        return replace(await self.stat(file.bucket, file.path), sha256=checksum.sha256)

    async def _put_named_last(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        """Write a file aside, and have the store copy it to its place when its name has come; nothing stays aside."""
        aside = replace(file, path=incoming_path(), named=None, may_replace=free)
        try:
            written = await self.put(aside, chunks)
            final = file.final()
            try:
                await copy(self._wire, written, final, lambda: self._condition(final))
            except S3Refused as refused:
                raise refused.to_error() from refused
            return replace(await self.stat(final.bucket, final.path), sha256=written.sha256)
        finally:
            await finish_despite_cancel(asyncio.create_task(forget(self._wire, aside.bucket, aside.path)))

    def lend(self, file: NewFile) -> AbstractAsyncContextManager[Loan]:
        """Refuse: the bytes of an object are written by its store alone."""
        raise WrongState("this store lends no files; upload the bytes")

    @asynccontextmanager
    async def open(
        self, bucket: str, path: str, wanted: ByteRange = WHOLE, readable: Check = free
    ) -> AsyncIterator[OpenFile]:
        """Read one file; the etag pins the version, so a file replaced in between is asked for anew."""
        while True:
            info = await self.stat(bucket, path)
            readable(info)
            offset, length = wanted.within(info)
            headers = {"If-Match": f'"{info.etag}"'}
            if length < info.size_bytes:
                headers["Range"] = f"bytes={offset}-{offset + length - 1}"
            try:
                async with self._wire.stream("GET", bucket, path, headers=headers) as response:
                    chunks = _body(response, length)
                    try:
                        yield OpenFile(info, offset, length, chunks)
                    finally:
                        await chunks.aclose()
                    return
            except S3Refused as refused:
                if refused.status != 412:
                    raise named(refused, bucket, path) from refused

    async def locate(self, bucket: str, path: str) -> tuple[FileInfo, Path]:
        """Refuse: an object lies on no disk of ours."""
        raise WrongState("this store has no folder; download the bytes")

    async def stat(self, bucket: str, path: str) -> FileInfo:
        """Describe one file; a second request fetches a checksum that is in a tag."""
        info = await head(self._wire, bucket, path)
        if info.sha256 != IN_TAG:
            return info
        try:
            _, answer = await self._wire.call("GET", bucket, path, query={"tagging": ""})
        except S3Refused as refused:
            raise named(refused, bucket, path) from refused
        return replace(info, sha256=unmarshal(S3Tags, answer.decode()).values.get(TAG, ""))

    async def _condition(self, file: NewFile) -> dict[str, str]:
        """Return the headers that make a write replace what is there now and nothing else; raises what forbids that."""
        if file.may_replace is free:
            return {}
        try:
            there = await head(self._wire, file.bucket, file.path)
        except FileNotFound:
            return {"If-None-Match": "*"}
        file.may_replace(there)
        return {"If-Match": f'"{there.etag}"'}

    async def list_page(
        self, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str, reach: Reach = EVERYTHING
    ) -> FilePage:
        """List one page; `after` is the store's own continuation token. An absent bucket is an empty one.

        A listing tells no owners, so each file is asked for its own, some side by side; see docs/adr/0022-files-have-owners.md.
        """
        return await list_page(
            self._wire, bucket, prefix, recursive=recursive, limit=limit, after=after, reach=reach
        )

    async def delete(self, bucket: str, path: str, guard: Guard = free) -> FileInfo:
        """Delete one file; S3 itself does not tell whether there was one. Conditional, on stores that know that."""
        info = await self.stat(bucket, path)
        guard(info)
        headers = {} if guard is free else {"If-Match": f'"{info.etag}"'}
        try:
            await self._wire.call("DELETE", bucket, path, headers=headers)
        except S3Refused as refused:
            raise named(refused, bucket, path) from refused
        return info

    async def delete_prefix(self, bucket: str, prefix: str, reach: Reach = EVERYTHING) -> Deletion:
        """Delete a folder, a thousand files a request."""
        deleted = deleted_bytes = 0
        failed: list[str] = []
        after = ""
        while True:
            page = await self.list_page(
                bucket, prefix, recursive=True, limit=_LIST_ROWS, after=after, reach=reach
            )
            if page.files:
                refused = await self._delete_all(bucket, [info.path for info in page.files])
                gone = [info for info in page.files if info.path not in refused]
                deleted += len(gone)
                deleted_bytes += sum(info.size_bytes for info in gone)
                failed += sorted(refused)[: _MAX_FAILED_PATHS - len(failed)]
            after = page.last
            if not after:
                return Deletion(deleted, deleted_bytes, tuple(failed))

    async def presign(
        self, bucket: str, path: str, grant: Grant, *, internal: bool, may_replace: Guard = free
    ) -> SignedUrl:
        """Sign a URL of the store itself, or, without a public endpoint, one that the gateway serves.

        One that writes makes the object the grant's user's, and replaces only what is there now.
        """
        if not self._wire.serves(inside=internal):
            if self.signer is not None:
                return SignedUrl(self.signer.url(bucket, path, grant))
            raise WrongState(
                "this store has no public endpoint (filestore.s3.public_endpoint) and no filestore.url_key"
            )
        query: dict[str, str] = {}
        headers: dict[str, str] = {}
        if grant.method is PresignMethod.GET:
            name = quote(grant.download_name or path.rsplit("/", 1)[-1], safe="")
            query["response-content-disposition"] = f"attachment; filename*=UTF-8''{name}"
        else:
            file = NewFile(
                bucket, path, "", owner=grant.caller.user, task_id=grant.task_id, may_replace=may_replace
            )
            headers = {**owning(file.owner, file.task_id), **await self._condition(file)}
        url = self._wire.presigned(
            grant.method.value, bucket, path, grant.expires_seconds, query, headers, inside=internal
        )
        return SignedUrl(url, headers)

    async def usage(self, bucket: str) -> Usage:
        """Count by listing the whole bucket."""
        files = size_bytes = 0
        after = ""
        while True:
            page = await self.list_page(bucket, "", recursive=True, limit=_LIST_ROWS, after=after)
            files += len(page.files)
            size_bytes += sum(info.size_bytes for info in page.files)
            after = page.last
            if not after:
                return Usage(files, size_bytes)

    async def clean(self, bucket: str, older_than_seconds: float) -> int:
        """Remove uploads that began that long ago and never ended, whoever began them."""
        return await clean(self._wire, bucket, datetime.now(UTC) - timedelta(seconds=older_than_seconds))

    async def ping(self) -> None:
        """Ask for the default bucket's head."""
        try:
            await self._wire.call("HEAD", self._bucket)
        except S3Refused as refused:
            raise Unavailable(f"the object store answered {refused.status}") from refused

    @property
    def _wire(self) -> S3Wire:
        if self._opened is None:
            raise RuntimeError("the S3 store was not started")
        return self._opened

    @property
    def _writer(self) -> S3Writer:
        return S3Writer(self._wire, self._threads, self._section.part_mib * MIB, self._section.parallel_parts)

    async def _delete_all(self, bucket: str, paths: list[str]) -> set[str]:
        body = deletion(paths)
        try:
            _, answer = await self._wire.call(
                "POST", bucket, query={"delete": ""}, headers=content_md5(body), body=[body]
            )
        except S3Refused as refused:
            raise refused.to_error() from refused
        return set(unmarshal(S3Deleted, answer.decode()).failed_keys)


async def _body(response: aiohttp.ClientResponse, length: int) -> AsyncGenerator[bytes, None]:
    """Yield the answer in chunks as large as the socket's buffer gives; raises Unavailable when it is cut."""
    received = 0
    try:
        while received < length:
            piece = await response.content.readany()
            if not piece:
                raise Unavailable("the object store ended a file too early")
            received += len(piece)
            if len(piece) <= READ_BYTES:
                yield piece
                continue
            for start in range(0, len(piece), READ_BYTES):
                yield piece[start : start + READ_BYTES]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable("the object store broke off a file") from error
