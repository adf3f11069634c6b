"""FileService: unpacks requests, calls the store, packs answers. Bytes pass through uncopied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from filestore import metrics
from filestore.backend import ByteRange, Chunk, NewFile
from filestore.naming import Naming
from filestore.packing import to_caller, to_file, to_method
from filestore.signing import Grant
from filestore.store import FileStore
from runtime import VERSION
from runtime.batches import Crc32
from runtime.chunk_codec import chunk_tag, encode
from runtime.errors import DeadlineExceeded, InvalidArgument
from yivideo.file.v1 import file_pb2, file_pb2_grpc

SERVICE = file_pb2.DESCRIPTOR.services_by_name["FileService"].full_name
_MAX_CHUNK_BYTES = 2 * 1024 * 1024
_SENT = chunk_tag(file_pb2.DownloadResponse, "chunk")

Incoming = file_pb2.UploadRequest | memoryview
"""A message of an upload; a chunk may come as a view of its bytes (filestore.wire)."""

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class FileServicer(file_pb2_grpc.FileServiceServicer):
    """The gRPC face of one FileStore; `filestore.wire` registers it."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._idle_seconds = store.section.idle_timeout_seconds

    async def Upload(  # noqa: N802
        self, request_iterator: AsyncIterator[Incoming], context: Context
    ) -> file_pb2.UploadResponse:
        """Write one file."""
        requests = aiter(request_iterator)
        naming = Naming()
        first = await self._next(requests)
        file = self._announced(first, naming)
        wanted = cast(file_pb2.UploadRequest, first).header.want_crc32
        chunks, crc32 = self._chunks(requests, naming), Crc32()
        info = await self._store.put(file, crc32.over(chunks) if wanted else chunks)
        return file_pb2.UploadResponse(file=to_file(info), crc32=crc32.value if wanted else None)

    async def ComposeFile(  # noqa: N802
        self, request: file_pb2.ComposeFileRequest, context: Context
    ) -> file_pb2.ComposeFileResponse:
        """Write one file out of parts, and let go of the parts."""
        if request.header.named_last:
            raise InvalidArgument.at("/header/named_last", "a file of parts is named at once")
        file, caller = self._announced(request, Naming()), to_caller(request.header.caller)
        info = await self._store.compose(file, request.parts, caller, delete_parts=request.delete_parts)
        return file_pb2.ComposeFileResponse(file=to_file(info))

    async def UploadInPlace(  # noqa: N802
        self, request_iterator: AsyncIterator[file_pb2.UploadInPlaceRequest], context: Context
    ) -> AsyncIterator[file_pb2.UploadInPlaceResponse]:
        """Lend one file to a writer on this machine."""
        requests = aiter(request_iterator)
        naming = Naming()
        file = self._announced(await self._next(requests), naming)
        async with self._store.lend(file) as lent:
            yield file_pb2.UploadInPlaceResponse(lent=file_pb2.LentFile(path=str(lent.path)))
            written = 0
            while (request := await self._next(requests)) is not None:
                match request.WhichOneof("payload"):
                    case "progress":
                        size = request.progress.size_bytes
                        lent.cover(size)
                        metrics.RECEIVED_BYTES.inc(max(0, size - written))
                        written = max(written, size)
                        yield file_pb2.UploadInPlaceResponse(covered=request.progress)
                    case "trailer":
                        naming.take(request.trailer)
                        info = await lent.commit(
                            request.trailer.size_bytes, _required(request.trailer.sha256)
                        )
                        yield file_pb2.UploadInPlaceResponse(file=to_file(info))
                        return
                    case _:
                        raise InvalidArgument.at("/header", "the header comes once and first")
        raise InvalidArgument.at("/trailer", "the upload ended without its trailer; nothing was stored")

    async def Download(  # noqa: N802
        self, request: file_pb2.DownloadRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Read one file or a range of it; the chunks are messages already written."""
        wanted = ByteRange(request.offset_bytes, request.length_bytes, request.if_range_etag)
        caller = to_caller(request.caller)
        async with self._store.open(request.bucket, request.path, wanted, caller) as opened:
            header = file_pb2.DownloadHeader(
                file=to_file(opened.info),
                offset_bytes=opened.offset_bytes,
                length_bytes=opened.length_bytes,
            )
            yield file_pb2.DownloadResponse(header=header)
            async for chunk in opened.chunks:
                metrics.SENT_BYTES.inc(len(chunk))
                with self._reader_awake():
                    yield encode(_SENT, (chunk,))

    async def LocateFile(  # noqa: N802
        self, request: file_pb2.LocateFileRequest, context: Context
    ) -> file_pb2.LocateFileResponse:
        """Say where the content lies on this machine."""
        info, path = await self._store.locate(request.bucket, request.path, to_caller(request.caller))
        return file_pb2.LocateFileResponse(file=to_file(info), local_path=str(path))

    async def StatFile(  # noqa: N802
        self, request: file_pb2.StatFileRequest, context: Context
    ) -> file_pb2.StatFileResponse:
        """Describe one file."""
        info = await self._store.stat(request.bucket, request.path, to_caller(request.caller))
        return file_pb2.StatFileResponse(file=to_file(info))

    async def ListFiles(  # noqa: N802
        self, request: file_pb2.ListFilesRequest, context: Context
    ) -> file_pb2.ListFilesResponse:
        """List one page."""
        page, token = await self._store.list_page(
            request.bucket,
            request.prefix,
            recursive=request.recursive,
            page_size=request.page_size,
            token=request.page_token,
            caller=to_caller(request.caller),
        )
        return file_pb2.ListFilesResponse(
            files=[to_file(info) for info in page.files], prefixes=page.prefixes, next_page_token=token
        )

    async def DeleteFile(  # noqa: N802
        self, request: file_pb2.DeleteFileRequest, context: Context
    ) -> file_pb2.DeleteFileResponse:
        """Delete one file."""
        info = await self._store.delete(
            request.bucket, request.path, to_caller(request.caller), task_id=request.task_id
        )
        return file_pb2.DeleteFileResponse(file=to_file(info))

    async def DeleteFiles(  # noqa: N802
        self, request: file_pb2.DeleteFilesRequest, context: Context
    ) -> file_pb2.DeleteFilesResponse:
        """Delete a folder."""
        done = await self._store.delete_folder(
            request.bucket, request.prefix, to_caller(request.caller), task_id=request.task_id
        )
        return file_pb2.DeleteFilesResponse(
            deleted_count=done.deleted, deleted_bytes=done.deleted_bytes, failed_paths=done.failed_paths
        )

    async def PresignFile(  # noqa: N802
        self, request: file_pb2.PresignFileRequest, context: Context
    ) -> file_pb2.PresignFileResponse:
        """Sign a URL."""
        grant = Grant(
            to_method(request.method),
            request.expires_seconds,
            request.download_name,
            to_caller(request.caller),
            request.task_id,
        )
        made, expire_time = await self._store.presign(
            request.bucket, request.path, grant, internal=request.internal
        )
        stamp = Timestamp()
        stamp.FromDatetime(expire_time)
        return file_pb2.PresignFileResponse(url=made.url, expire_time=stamp, headers=made.headers)

    async def VerifyPresigned(  # noqa: N802
        self, request: file_pb2.VerifyPresignedRequest, context: Context
    ) -> file_pb2.VerifyPresignedResponse:
        """Check a URL's token."""
        grant = self._store.verify_presigned(
            request.bucket, request.path, to_method(request.method), request.token
        )
        caller = file_pb2.Caller(user=grant.caller.user, all_files=grant.caller.all_files)
        return file_pb2.VerifyPresignedResponse(
            download_name=grant.download_name, caller=caller, task_id=grant.task_id
        )

    async def ResolveUrl(  # noqa: N802
        self, request: file_pb2.ResolveUrlRequest, context: Context
    ) -> file_pb2.ResolveUrlResponse:
        """Say which file a URL names."""
        found = self._store.resolve(request.url)
        if found is None:
            return file_pb2.ResolveUrlResponse()
        bucket, path, caller = found
        answer = file_pb2.ResolveUrlResponse(found=True, bucket=bucket, path=path)
        if caller is not None:
            answer.caller.CopyFrom(file_pb2.Caller(user=caller.user, all_files=caller.all_files))
        return answer

    async def GetStorage(  # noqa: N802
        self, request: file_pb2.GetStorageRequest, context: Context
    ) -> file_pb2.GetStorageResponse:
        """Describe the store."""
        store = self._store
        return file_pb2.GetStorageResponse(
            backend=store.backend.name,
            endpoint=store.backend.endpoint,
            default_bucket=store.section.default_bucket,
            used_bytes=store.used.size_bytes,
            file_count=store.used.files,
            quota_bytes=store.quota.limit_bytes,
            healthy=await store.healthy(),
            version=VERSION,
        )

    def _announced(self, first: object, naming: Naming) -> NewFile:
        """Return the file that an upload's first message announces."""
        header = getattr(first, "header", None)
        if not isinstance(header, file_pb2.UploadHeader) or not cast(Message, first).HasField("header"):
            raise InvalidArgument.at("/header", "the first message must be the header")
        if header.size_bytes < 0:
            raise InvalidArgument.at("/size_bytes", "must be 0 or more")
        file = NewFile(
            header.bucket,
            header.path,
            header.content_type,
            size_bytes=header.size_bytes or None,
            sha256=header.sha256,
            allow_empty=header.allow_empty,
            task_id=header.task_id,
        )
        file = self._store.announced(file, to_caller(header.caller), if_absent=header.if_absent)
        return naming.of(file) if header.named_last else file

    async def _next(self, requests: AsyncIterator[T]) -> T | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(requests, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"nothing came for {self._idle_seconds:g} s; the upload is dropped"
            ) from None

    async def _chunks(self, requests: AsyncIterator[Incoming], naming: Naming) -> AsyncIterator[Chunk]:
        sent = 0
        while (request := await self._next(requests)) is not None:
            chunk = request if isinstance(request, memoryview) else _chunk_of(request, sent)
            if chunk is None:
                naming.take(cast(file_pb2.UploadRequest, request).trailer)
                return
            if len(chunk) > _MAX_CHUNK_BYTES:
                raise InvalidArgument.at("/chunk", f"a chunk may have {_MAX_CHUNK_BYTES} bytes")
            metrics.RECEIVED_BYTES.inc(len(chunk))
            sent += len(chunk)
            yield chunk
        # gRPC ends the requests of a cancelled or broken call just as those of a finished one, and often tells of the
        # cancellation only afterwards. The trailer makes sure that a cut file is never taken for a whole one.
        raise InvalidArgument.at("/trailer", "the upload ended without its trailer; nothing was stored")

    @contextmanager
    def _reader_awake(self) -> Iterator[None]:
        """End the call when its reader takes nothing for the idle time; flow control would let it wait for ever."""
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, task.cancel)
        try:
            yield
        finally:
            timer.cancel()


def _required(sha256: str) -> str:
    if not sha256:
        raise InvalidArgument.at("/trailer/sha256", "the writer must have hashed what it wrote")
    return sha256


def _chunk_of(request: file_pb2.UploadRequest, sent: int) -> bytes | None:
    """Return a chunk's bytes; None for a trailer that says as many were sent as came."""
    payload = request.WhichOneof("payload")
    if payload == "trailer":
        if request.trailer.size_bytes != sent:
            detail = f"the writer sent {request.trailer.size_bytes} bytes, {sent} came"
            raise InvalidArgument.at("/trailer/size_bytes", detail)
        return None
    if payload != "chunk":
        raise InvalidArgument.at("/header", "the header comes once and first")
    return request.chunk
