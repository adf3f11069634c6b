"""A FileService for the gateway's tests: in memory, over real gRPC, with the contract's answers and errors."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.protobuf.timestamp_pb2 import Timestamp

from runtime import errors
from yivideo.file.v1 import file_pb2 as pb
from yivideo.file.v1.file_pb2_grpc import FileServiceServicer

BUCKET = "yivideo"
UPDATED = Timestamp(seconds=1_700_000_000, nanos=500_000_000)


@dataclass
class Stored:
    """One file."""

    file: pb.File
    content: bytes = field(repr=False)


class FakeFilestore(FileServiceServicer):
    """Keeps files by bucket and path."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], Stored] = {}
        self.headers: list[pb.UploadHeader] = []
        self.keep_content = True
        """False: only count and hash, for large uploads."""
        self.largest_chunk = 0
        self.refuse_after_bytes: int | None = None
        """An upload is refused with QuotaExceeded once it has sent so much."""
        self.cut_download = False
        """A download ends, or breaks with DATA_LOSS, before its announced length."""
        self.uploads_open = 0
        self.downloads_open = 0
        self.downloads = 0
        self.store_url = ""
        """Where a store behind this room serves its files; empty: it has no links of its own."""
        self.store_is_public = False
        """Clients can reach that store too."""
        self.presigned = 0
        """Links that were asked for."""
        self.public = True
        self.healthy = True
        self.fail: errors.YiVideoError | None = None
        self.changed = asyncio.Condition()

    def put(self, path: str, content: bytes, content_type: str = "audio/wav") -> Stored:
        """Store a file from the test itself."""
        file = pb.File(
            bucket=BUCKET,
            path=path,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content_type=content_type,
            etag=hashlib.md5(content).hexdigest(),
            update_time=UPDATED,
        )
        stored = self.files[BUCKET, path] = Stored(file, content)
        return stored

    def _find(self, request: Any) -> Stored:
        if self.fail is not None:
            raise self.fail
        if ".." in request.path.split("/") or request.path.startswith("/"):
            raise errors.PathRefused("the path leaves the bucket")
        stored = self.files.get((request.bucket or BUCKET, request.path))
        if stored is None:
            raise errors.FileNotFound(f"no file {request.path!r}")
        return stored

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def wait_for(self, condition: Any) -> None:
        """Wait until something about this room is so."""
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(condition), 5)

    async def Upload(self, requests: AsyncIterator[pb.UploadRequest], context: Any) -> pb.UploadResponse:
        """Store a file when its stream has ended well."""
        self.uploads_open += 1
        await self._tell()
        try:
            return await self._upload(requests, context)
        finally:
            self.uploads_open -= 1
            await self._tell()

    async def _upload(self, requests: AsyncIterator[pb.UploadRequest], context: Any) -> pb.UploadResponse:
        header = (await anext(aiter(requests))).header
        self.headers.append(header)
        if header.path == "" and not header.named_last:
            raise errors.PathRefused("the path is empty")
        bucket = header.bucket or BUCKET
        if ".." in header.path.split("/") or header.path.startswith("/"):
            raise errors.PathRefused("the path leaves the bucket")
        if header.if_absent and (bucket, header.path) in self.files:
            raise errors.FileExists("the file exists")
        digest, size, kept = hashlib.sha256(), 0, bytearray()
        complete = False
        async for message in requests:
            if message.HasField("trailer"):
                complete = message.trailer.size_bytes == size
                if header.named_last:
                    header.path = message.trailer.path
                    bucket = message.trailer.bucket or BUCKET
                break
            self.largest_chunk = max(self.largest_chunk, len(message.chunk))
            assert 0 < len(message.chunk) <= 2 * 1024 * 1024, "FileService takes chunks of 1 byte to 2 MiB"
            size += len(message.chunk)
            digest.update(message.chunk)
            if self.keep_content:
                kept += message.chunk
            if self.refuse_after_bytes is not None and size >= self.refuse_after_bytes:
                raise errors.QuotaExceeded("the store is full")
        if not complete:
            raise errors.InvalidArgument("the upload ended without its trailer")
        if not size:
            raise errors.InvalidArgument.at("/chunk", "the file is empty")
        if header.size_bytes and size != header.size_bytes:
            raise errors.InvalidArgument("the size does not fit")
        stored = self.put(header.path, bytes(kept), header.content_type or "application/octet-stream")
        stored.file.size_bytes, stored.file.sha256 = size, digest.hexdigest()
        stored.file.bucket = bucket
        if bucket != BUCKET:
            self.files[bucket, header.path] = self.files.pop((BUCKET, header.path))
        return pb.UploadResponse(file=stored.file)

    async def Download(self, request: pb.DownloadRequest, context: Any) -> AsyncIterator[pb.DownloadResponse]:
        """Send a file or a range."""
        self.downloads += 1
        stored = self._find(request)
        size = stored.file.size_bytes
        offset = request.offset_bytes if request.offset_bytes >= 0 else max(0, size + request.offset_bytes)
        length = min(size - offset, request.length_bytes or size)
        if request.if_range_etag and request.if_range_etag != stored.file.etag:
            offset, length = 0, size
        if offset >= size and size:
            raise errors.RangeRefused("the range starts behind the end")
        self.downloads_open += 1
        try:
            header = pb.DownloadHeader(file=stored.file, offset_bytes=offset, length_bytes=length)
            yield pb.DownloadResponse(header=header)
            step = 1024 * 1024
            for start in range(offset, offset + length, step):
                if self.cut_download and start > offset:
                    raise errors.DataLoss("the disk lied")
                yield pb.DownloadResponse(chunk=stored.content[start : min(start + step, offset + length)])
        finally:
            self.downloads_open -= 1
            await self._tell()

    async def StatFile(self, request: pb.StatFileRequest, context: Any) -> pb.StatFileResponse:
        """Describe a file."""
        return pb.StatFileResponse(file=self._find(request).file)

    async def ListFiles(self, request: pb.ListFilesRequest, context: Any) -> pb.ListFilesResponse:
        """List files under a prefix."""
        bucket = request.bucket or BUCKET
        paths = sorted(
            path for place, path in self.files if place == bucket and path.startswith(request.prefix)
        )
        prefixes: list[str] = []
        if not request.recursive:
            rest = {path: path.removeprefix(request.prefix) for path in paths}
            prefixes = sorted({request.prefix + r.split("/")[0] + "/" for r in rest.values() if "/" in r})
            paths = [path for path, r in rest.items() if "/" not in r]
        page = paths[: request.page_size]
        return pb.ListFilesResponse(
            files=[self.files[bucket, path].file for path in page],
            prefixes=prefixes,
            next_page_token="more" if len(page) < len(paths) else "",
        )

    async def DeleteFile(self, request: pb.DeleteFileRequest, context: Any) -> pb.DeleteFileResponse:
        """Delete a file."""
        stored = self._find(request)
        del self.files[request.bucket or BUCKET, request.path]
        return pb.DeleteFileResponse(file=stored.file)

    async def DeleteFiles(self, request: pb.DeleteFilesRequest, context: Any) -> pb.DeleteFilesResponse:
        """Delete a folder."""
        gone = [key for key in self.files if key[1].startswith(request.prefix)]
        freed = sum(self.files.pop(key).file.size_bytes for key in gone)
        return pb.DeleteFilesResponse(deleted_count=len(gone), deleted_bytes=freed)

    async def PresignFile(self, request: pb.PresignFileRequest, context: Any) -> pb.PresignFileResponse:
        """Make a link that the gateway serves."""
        if not self.public:
            raise errors.WrongState("this store has no public endpoint")
        self._find(request)
        expire = Timestamp(seconds=UPDATED.seconds + request.expires_seconds)
        self.presigned += 1
        if self.store_url and (request.internal or self.store_is_public):
            return pb.PresignFileResponse(url=f"{self.store_url}/{quote(request.path)}", expire_time=expire)
        url = f"/v1/files/presigned/{request.path}?bucket={request.bucket or BUCKET}&token=good-get"
        return pb.PresignFileResponse(url=url, expire_time=expire)

    async def VerifyPresigned(
        self, request: pb.VerifyPresignedRequest, context: Any
    ) -> pb.VerifyPresignedResponse:
        """Check a link."""
        word = "put" if request.method == pb.PRESIGN_METHOD_PUT else "get"
        if request.token != f"good-{word}":
            raise errors.PermissionDenied("this link is wrong")
        return pb.VerifyPresignedResponse(download_name="saved as.wav")

    async def GetStorage(self, request: pb.GetStorageRequest, context: Any) -> pb.GetStorageResponse:
        """Describe the store."""
        return pb.GetStorageResponse(
            backend="local",
            endpoint="files",
            default_bucket=BUCKET,
            used_bytes=5,
            file_count=1,
            healthy=self.healthy,
        )
