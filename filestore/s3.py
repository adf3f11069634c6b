"""The store on any S3: MinIO, Ceph, AWS and their kin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import aiohttp
from minio.xml import unmarshal

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
    Usage,
)
from filestore.names import DEFAULT_CONTENT_TYPE, content_type_of
from filestore.s3_answers import S3Deleted, S3Page, S3Tags, S3Uploads, deletion
from filestore.s3_wire import S3Refused, S3Wire
from filestore.s3_write import IN_TAG, SHA256, TAG, S3Writer, content_md5
from filestore.settings import S3Section
from filestore.signing import PresignMethod, UrlSigner
from runtime.errors import FileExists, FileNotFound, Unavailable, WrongState
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
        if file.if_absent:
            # Refused early here; the write itself is conditional too, on stores that know If-None-Match.
            await self._refuse_existing(file.bucket, file.path)
        try:
            checksum = await self._writer.write(file, chunks)
        except S3Refused as refused:
            raise refused.to_error() from refused
        return replace(await self.stat(file.bucket, file.path), sha256=checksum.sha256)

    def lend(self, file: NewFile) -> AbstractAsyncContextManager[Loan]:
        """Refuse: the bytes of an object are written by its store alone."""
        raise WrongState("this store lends no files; upload the bytes")

    @asynccontextmanager
    async def open(self, bucket: str, path: str, wanted: ByteRange = WHOLE) -> AsyncIterator[OpenFile]:
        """Read one file; the etag pins the version, so a file replaced in between is asked for anew."""
        while True:
            info = await self.stat(bucket, path)
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
                    raise _named(refused, bucket, path) from refused

    async def locate(self, bucket: str, path: str) -> tuple[FileInfo, Path]:
        """Refuse: an object lies on no disk of ours."""
        raise WrongState("this store has no folder; download the bytes")

    async def stat(self, bucket: str, path: str) -> FileInfo:
        """Describe one file; a second request fetches a checksum that is in a tag."""
        try:
            headers, _ = await self._wire.call("HEAD", bucket, path)
            sha256 = headers.get(SHA256, "")
            if sha256 == IN_TAG:
                _, answer = await self._wire.call("GET", bucket, path, query={"tagging": ""})
                sha256 = unmarshal(S3Tags, answer.decode()).values.get(TAG, "")
        except S3Refused as refused:
            raise _named(refused, bucket, path) from refused
        return _to_info(bucket, path, headers, sha256)

    async def list_page(
        self, bucket: str, prefix: str, *, recursive: bool, limit: int, after: str
    ) -> FilePage:
        """List one page; `after` is the store's own continuation token. An absent bucket is an empty one."""
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(limit), "prefix": prefix}
        if not recursive:
            query["delimiter"] = "/"
        if after:
            query["continuation-token"] = after
        try:
            _, answer = await self._wire.call("GET", bucket, query=query)
        except S3Refused as refused:
            if refused.code == "NoSuchBucket":
                return FilePage((), (), "")
            raise refused.to_error() from refused
        page = unmarshal(S3Page, answer.decode())
        files = tuple(
            FileInfo(
                bucket, each.key, each.size_bytes, "", content_type_of(each.key), each.etag, each.update_time
            )
            for each in page.objects
        )
        return FilePage(files, page.prefixes, page.next_token)

    async def delete(self, bucket: str, path: str) -> FileInfo:
        """Delete one file; S3 itself does not tell whether there was one."""
        info = await self.stat(bucket, path)
        try:
            await self._wire.call("DELETE", bucket, path)
        except S3Refused as refused:
            raise _named(refused, bucket, path) from refused
        return info

    async def delete_prefix(self, bucket: str, prefix: str) -> Deletion:
        """Delete a folder, a thousand files a request."""
        deleted = deleted_bytes = 0
        failed: list[str] = []
        after = ""
        while True:
            page = await self.list_page(bucket, prefix, recursive=True, limit=_LIST_ROWS, after=after)
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
        self,
        bucket: str,
        path: str,
        method: PresignMethod,
        expires_seconds: int,
        *,
        download_name: str,
        internal: bool,
    ) -> str:
        """Sign a URL of the store itself, or, without a public endpoint, one that the gateway serves."""
        query = {}
        if method is PresignMethod.GET:
            name = quote(download_name or path.rsplit("/", 1)[-1], safe="")
            query["response-content-disposition"] = f"attachment; filename*=UTF-8''{name}"
        url = self._wire.presigned(method.value, bucket, path, expires_seconds, query, inside=internal)
        if url is None and self.signer is not None:
            url = self.signer.url(bucket, path, method, expires_seconds, download_name)
        if url is None:
            raise WrongState(
                "this store has no public endpoint (filestore.s3.public_endpoint) and no filestore.url_key"
            )
        return url

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
        """Abort multipart uploads that began that long ago, whoever began them."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        markers: dict[str, str] = {}
        removed = 0
        try:
            while True:
                query = {"uploads": "", "encoding-type": "url", **markers}
                _, answer = await self._wire.call("GET", bucket, query=query)
                page = unmarshal(S3Uploads, answer.decode())
                for upload in page.uploads:
                    if upload.begin_time <= before:
                        await self._wire.call(
                            "DELETE", bucket, upload.key, query={"uploadId": upload.upload_id}
                        )
                        removed += 1
                if not page.truncated:
                    return removed
                markers = {"key-marker": page.next_key, "upload-id-marker": page.next_upload_id}
        except S3Refused as refused:
            raise refused.to_error() from refused

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

    async def _refuse_existing(self, bucket: str, path: str) -> None:
        try:
            await self.stat(bucket, path)
        except FileNotFound:
            return
        raise FileExists(f"{path} exists")

    async def _delete_all(self, bucket: str, paths: list[str]) -> set[str]:
        body = deletion(paths)
        try:
            _, answer = await self._wire.call(
                "POST", bucket, query={"delete": ""}, headers=content_md5(body), body=[body]
            )
        except S3Refused as refused:
            raise refused.to_error() from refused
        return set(unmarshal(S3Deleted, answer.decode()).failed_keys)


def _named(refused: S3Refused, bucket: str, path: str) -> Exception:
    error = refused.to_error()
    return FileNotFound(f"no file {path} in bucket {bucket}") if isinstance(error, FileNotFound) else error


def _to_info(bucket: str, path: str, headers: Mapping[str, str], sha256: str) -> FileInfo:
    return FileInfo(
        bucket,
        path,
        int(headers["Content-Length"]),
        sha256,
        headers.get("Content-Type") or DEFAULT_CONTENT_TYPE,
        headers.get("ETag", "").strip('"'),
        parsedate_to_datetime(headers["Last-Modified"]).astimezone(UTC),
    )


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
