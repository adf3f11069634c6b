"""FileService as the store of a node: streams through filestore, and bulk bytes past it where the store is an S3."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp
import grpc

from nodekit.media.files import CHUNK_BYTES, Files, Sink, StoredFile, opened_chunks
from nodekit.media.web_source import MAX_FAILURES, WebSource
from nodekit.settings import NodeSection
from runtime.errors import (
    DataLoss,
    FileExists,
    FileNotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
    WrongState,
)
from runtime.refusal import answered
from runtime.rpc_errors import rpc_errors
from runtime.streamed import streamed
from yivideo.file.v1 import file_pb2, file_pb2_grpc
from yivideo.task.v1 import task_pb2

_BULK_URL_SECONDS = 3600
_SINGLE_PUT_LIMIT_BYTES = 5 * 1024**3
"""S3 takes no larger object in one PUT."""
_NO_LIMIT_BYTES = 2**63
_BACKOFF_SECONDS = 0.2


def _stored(file: file_pb2.File) -> StoredFile:
    return StoredFile(file.bucket, file.path, file.size_bytes, file.sha256, file.etag)


class ServiceStore:
    """The store behind one FileService channel."""

    def __init__(self, channel: grpc.aio.Channel, settings: NodeSection) -> None:
        self.stub: file_pb2_grpc.FileServiceAsyncStub = file_pb2_grpc.FileServiceStub(channel)
        self._channel = channel
        self.settings = settings
        self.timeout = settings.download_timeout_seconds
        self._bulk: bool | None = None
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the channel and the bulk session."""
        if self._session is not None:
            await self._session.close()
        await self._channel.close()

    def of_task(self, spec: task_pb2.TaskSpec) -> ServiceFiles:
        """Return the store on behalf of a task and its user."""
        caller = file_pb2.Caller(user=spec.user, all_files=spec.all_files)
        return ServiceFiles(self, caller, spec.task_id)

    async def moves_in_bulk(self, size_bytes: int) -> bool:
        """Say whether so many bytes go past the filestore: a large file of an S3."""
        if size_bytes < self.settings.bulk_threshold_mib * 1024 * 1024:
            return False
        if self._bulk is None:
            async with rpc_errors():
                storage = await self.stub.GetStorage(file_pb2.GetStorageRequest())
            self._bulk = storage.backend == "s3"
        return self._bulk

    def bulk_session(self) -> aiohttp.ClientSession:
        """Open the session for the store's own endpoint: filestore names it, so no guard against private addresses is due."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                trust_env=False,
                auto_decompress=False,
                read_bufsize=CHUNK_BYTES,
                timeout=aiohttp.ClientTimeout(total=self.timeout, sock_connect=10, sock_read=60),
            )
        return self._session

    def bulk_get(
        self, url: str, always: Mapping[str, str]
    ) -> Callable[[Mapping[str, str]], contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]]:
        """Return what sends a GET for a link, always with these headers."""

        @asynccontextmanager
        async def request(headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
            try:
                async with self.bulk_session().get(url, headers={**headers, **always}) as response:
                    yield response
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Unavailable(f"the object store cannot be reached: {type(error).__name__}") from error

        return request


class ServiceFiles:
    """The store on behalf of one task: every call says for which user, and every output which task has made it."""

    def __init__(self, store: ServiceStore, caller: file_pb2.Caller, task_id: str) -> None:
        self._store = store
        self._stub = store.stub
        self._settings = store.settings
        self._caller = caller
        self._task_id = task_id

    async def stat(self, bucket: str, path: str) -> StoredFile:
        """Describe an object."""
        request = file_pb2.StatFileRequest(bucket=bucket, path=path, caller=self._caller)
        async with rpc_errors():
            answer = await self._stub.StatFile(request)
        return _stored(answer.file)

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[StoredFile]:
        """List every object under a prefix, in path order."""
        token = ""
        while True:
            request = file_pb2.ListFilesRequest(
                bucket=bucket, prefix=prefix, recursive=True, page_token=token, caller=self._caller
            )
            async with rpc_errors():
                page = await self._stub.ListFiles(request)
            for file in page.files:
                yield _stored(file)
            token = page.next_page_token
            if not token:
                return

    async def delete(self, file: StoredFile) -> None:
        """Delete an object that the task has stored."""
        request = file_pb2.DeleteFileRequest(
            bucket=file.bucket, path=file.path, caller=self._caller, task_id=self._task_id
        )
        with contextlib.suppress(FileNotFound, PermissionDenied):
            async with rpc_errors():
                await self._stub.DeleteFile(request)

    async def resolve(self, url: str) -> tuple[Files, str, str] | None:
        """Ask the filestore; what a signed link of the gateway names is read as its maker."""
        try:
            async with rpc_errors():
                found = await self._stub.ResolveUrl(file_pb2.ResolveUrlRequest(url=url))
        except Unimplemented:
            return None
        if not found.found:
            return None
        whom = found.caller if found.HasField("caller") else self._caller
        return ServiceFiles(self._store, whom, self._task_id), found.bucket, found.path

    async def url(self, file: StoredFile) -> str:
        """Return a presigned GET; empty when the store has no public endpoint."""
        request = file_pb2.PresignFileRequest(
            bucket=file.bucket,
            path=file.path,
            method=file_pb2.PRESIGN_METHOD_GET,
            expires_seconds=self._settings.url_expires_seconds,
            caller=self._caller,
        )
        try:
            async with rpc_errors():
                return (await self._stub.PresignFile(request)).url
        except WrongState:
            return ""

    async def download(self, file: StoredFile, target: Path) -> None:
        """Write an object's bytes to a new local file, resumed when a connection breaks, checked at the end."""
        async with Sink(target, _NO_LIMIT_BYTES) as sink:
            if await self._store.moves_in_bulk(file.size_bytes):
                made = await self._presigned(file.bucket, file.path, file_pb2.PRESIGN_METHOD_GET)
                # The link is for whatever lies at the path; what was described is this version of it.
                get = self._store.bulk_get(made.url, {"If-Match": f'"{file.etag}"'} if file.etag else {})
                await WebSource(get, "the object store", _NO_LIMIT_BYTES).download(sink)
            else:
                await self._stream_down(file, sink)
        if sink.size_bytes != file.size_bytes or (file.sha256 and sink.sha256 != file.sha256):
            raise DataLoss(f"{file.path} arrived with other bytes than the store has")

    async def _stream_down(self, file: StoredFile, sink: Sink) -> None:
        failures = 0
        while True:
            before = sink.size_bytes
            try:
                return await self._stream_rest(file, sink)
            except Unavailable:
                failures = 1 if sink.size_bytes > before else failures + 1
                if failures >= MAX_FAILURES:
                    raise
            await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (failures - 1))

    async def _stream_rest(self, file: StoredFile, sink: Sink) -> None:
        if sink.size_bytes and sink.size_bytes == file.size_bytes:
            return
        request = file_pb2.DownloadRequest(
            bucket=file.bucket,
            path=file.path,
            offset_bytes=sink.size_bytes,
            if_range_etag=file.etag,
            caller=self._caller,
        )
        async with rpc_errors():
            with streamed(self._stub.Download(request, timeout=self._store.timeout)) as call:
                async for message in call:
                    if message.HasField("header"):
                        if message.header.offset_bytes != sink.size_bytes:
                            await sink.restart()
                    else:
                        await sink.write(message.chunk)

    async def upload(self, source: Path, path: str) -> StoredFile:
        """Store a local file in the default bucket, as the task's output."""
        size_bytes = (await asyncio.to_thread(source.stat)).st_size
        failures = 0
        while True:
            try:
                if size_bytes <= _SINGLE_PUT_LIMIT_BYTES and await self._store.moves_in_bulk(size_bytes):
                    return await self._put(source, path, size_bytes)
                return await self._stream_up(source, path, size_bytes)
            except Unavailable:
                failures += 1
                if failures >= MAX_FAILURES:
                    raise
            await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (failures - 1))

    async def _stream_up(self, source: Path, path: str, size_bytes: int) -> StoredFile:
        async def messages(chunks: AsyncIterator[bytes]) -> AsyncIterator[file_pb2.UploadRequest]:
            header = file_pb2.UploadHeader(
                path=path,
                size_bytes=size_bytes,
                allow_empty=True,
                caller=self._caller,
                task_id=self._task_id,
            )
            yield file_pb2.UploadRequest(header=header)
            sent = 0
            async for chunk in chunks:
                yield file_pb2.UploadRequest(chunk=chunk)
                sent += len(chunk)
            yield file_pb2.UploadRequest(trailer=file_pb2.UploadTrailer(size_bytes=sent))

        async with opened_chunks(source) as chunks, rpc_errors():
            answer = await answered(self._stub.Upload(messages(chunks), timeout=self._store.timeout))
        if answer.file.size_bytes != size_bytes:
            raise DataLoss(f"{path} was stored with another size")
        return _stored(answer.file)

    async def _put(self, source: Path, path: str, size_bytes: int) -> StoredFile:
        made = await self._presigned("", path, file_pb2.PRESIGN_METHOD_PUT)
        headers = {"Content-Length": str(size_bytes), **made.headers}
        try:
            async with (
                opened_chunks(source) as chunks,
                self._store.bulk_session().put(made.url, data=chunks, headers=headers) as response,
            ):
                if response.status == HTTPStatus.PRECONDITION_FAILED:
                    raise FileExists(f"{path} exists")
                if response.status != 200:
                    raise Unavailable(f"the object store answered {response.status} to an upload")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the object store cannot be reached: {type(error).__name__}") from error
        stored = await self.stat("", path)
        if stored.size_bytes != size_bytes:
            raise DataLoss(f"{path} was stored with another size")
        return stored

    async def _presigned(
        self, bucket: str, path: str, method: file_pb2.PresignMethod.ValueType
    ) -> file_pb2.PresignFileResponse:
        request = file_pb2.PresignFileRequest(
            bucket=bucket,
            path=path,
            method=method,
            expires_seconds=_BULK_URL_SECONDS,
            internal=True,
            caller=self._caller,
            task_id=self._task_id,
        )
        async with rpc_errors():
            return await self._stub.PresignFile(request)
