"""Files over the filestore's FileService; the methods are those of `yivideo_client.files.Files`."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO

from runtime.refusal import answered
from runtime.streamed import streamed
from yivideo.file.v1 import file_pb2, file_pb2_grpc
from yivideo_client.digest import path_of_input, sha256_of
from yivideo_client.errors import IntegrityError, NotFound
from yivideo_client.landing import Landing
from yivideo_client.local_file import check_not_empty, nothing_to_send
from yivideo_client.models import StoredFile
from yivideo_client.partial import partial
from yivideo_client.piped import Stream
from yivideo_client.pouring import Pouring, ReaderGone, opened_stream
from yivideo_client.tries import FAULTS, Broken
from yivideo_client.waiting_open import opened_when_ready
from yivideo_grpc.calls import CALL_SECONDS, Calls
from yivideo_grpc.faults import told
from yivideo_grpc.messages import to_file

TRANSFER_SECONDS = 3600.0
PIECE_BYTES = 1024 * 1024
Told = Callable[[int, int], None]


class GrpcFiles:
    """The store of one installation, as one user sees it."""

    def __init__(
        self,
        stub: file_pb2_grpc.FileServiceAsyncStub,
        caller: file_pb2.Caller,
        calls: Calls,
    ) -> None:
        self._stub = stub
        self._caller = caller
        self._calls = calls

    async def upload(
        self,
        source: Path,
        path: str,
        *,
        bucket: str = "",
        only_new: bool = False,
        parts: bool | None = None,
        progress: Told | None = None,
    ) -> StoredFile:
        """See `Files.upload`: the store checks size and SHA-256 before the file appears. `parts` has no effect here."""
        check_not_empty(source)
        return await self._sent(source, path, await sha256_of(source), bucket, only_new, progress)

    async def upload_stream(
        self,
        source: IO[bytes],
        path: str,
        *,
        bucket: str = "",
        only_new: bool = False,
        progress: Told | None = None,
    ) -> StoredFile:
        """See `Files.upload_stream`; all of it is kept before it is sent, because the store is told its SHA-256 first."""
        async with Stream(source).block(None) as block:
            if not block.size:
                raise nothing_to_send(path)
            return await self.upload(block.path, path, bucket=bucket, only_new=only_new, progress=progress)

    async def _sent(
        self, source: Path, path: str, digest: str, bucket: str, only_new: bool, progress: Told | None
    ) -> StoredFile:
        size = (await asyncio.to_thread(source.stat)).st_size

        async def messages() -> AsyncIterator[file_pb2.UploadRequest]:
            header = file_pb2.UploadHeader(
                bucket=bucket, path=path, size_bytes=size, sha256=digest, if_absent=only_new,
                caller=self._caller,
            )  # fmt: skip
            yield file_pb2.UploadRequest(header=header)
            sent = 0
            with source.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                    yield file_pb2.UploadRequest(chunk=piece)
                    sent += len(piece)
                    if progress:
                        progress(sent, size)
            yield file_pb2.UploadRequest(trailer=file_pb2.UploadTrailer(size_bytes=sent))

        answer = await self._calls.make(
            lambda: answered(self._stub.Upload(messages(), timeout=TRANSFER_SECONDS))
        )
        stored = to_file(answer.file)
        if stored.size != size or (stored.sha256 and stored.sha256 != digest):
            raise IntegrityError(f"{path} was stored with other bytes than {source} has")
        return stored

    async def put_once(self, source: Path, prefix: str, *, progress: Told | None = None) -> StoredFile:
        """See `Files.put_once`; the user stands where the key does there."""
        check_not_empty(source)
        digest = await sha256_of(source)
        path = path_of_input(digest, source.name, prefix, self._caller.user)
        try:
            return await self.stat(path)
        except NotFound:
            return await self._sent(source, path, digest, "", False, progress)

    async def download(
        self,
        file: StoredFile | str,
        target: Path,
        *,
        bucket: str = "",
        parallel: int = 1,
        progress: Told | None = None,
    ) -> int:
        """See `Files.download`; one stream, which goes on where it broke. `parallel` has no effect here."""
        named = file if isinstance(file, StoredFile) else StoredFile(file, 0, bucket=bucket)
        descriptor = await opened_when_ready(target, opened_stream)
        if descriptor is not None:
            with os.fdopen(descriptor, "wb", buffering=0) as stream:
                return await self.download_to(named, stream, progress=progress)
        known = await self.stat(named.path, bucket=named.bucket)
        expected = named.sha256 or known.sha256
        with partial(target) as part:
            os.truncate(part.descriptor, 0)
            await self._fetch(known, Landing(part.descriptor, 0, known.size, _untold), progress)
            if expected and await sha256_of(part.path) != expected:
                part.forget()
                raise IntegrityError(f"{known.path} arrived with other bytes than it was stored with")
            part.finish()
        return known.size

    async def download_to(
        self, file: StoredFile | str, stream: IO[bytes], *, bucket: str = "", progress: Told | None = None
    ) -> int:
        """See `Files.download_to`."""
        named = file if isinstance(file, StoredFile) else StoredFile(file, 0, bucket=bucket)
        known = await self.stat(named.path, bucket=named.bucket)
        expected = named.sha256 or known.sha256
        stream.flush()
        pouring = Pouring(stream.fileno(), 0, known.size, _untold, digest=hashlib.sha256())
        try:
            await self._fetch(known, pouring, progress)
        except ReaderGone:
            raise BrokenPipeError(errno.EPIPE, "nobody reads it any more") from None
        finally:
            pouring.stopped = True
        if expected and pouring.digest.hexdigest() != expected:
            raise IntegrityError(f"{known.path} arrived with other bytes than it was stored with")
        return known.size

    async def _fetch(self, file: StoredFile, landing: Landing, progress: Told | None) -> None:
        tries = self._calls.tries()
        while landing.at < file.size:
            request = file_pb2.DownloadRequest(
                bucket=file.bucket, path=file.path, offset_bytes=landing.at, if_range_etag=file.etag, caller=self._caller
            )  # fmt: skip
            try:
                async with told():
                    with streamed(self._stub.Download(request, timeout=TRANSFER_SECONDS)) as call:
                        async for message in call:
                            if message.HasField("header"):
                                header = message.header
                                if header.file.etag != file.etag or header.offset_bytes != landing.at:
                                    raise IntegrityError(
                                        f"{file.path} was replaced while it was downloaded; start again"
                                    )
                                continue
                            await asyncio.to_thread(landing.take, message.chunk)
                            tries.progressed()
                            if progress:
                                progress(landing.at, file.size)
                fault: Exception = Broken("the answer ended early")
            except FAULTS as raised:
                fault = raised
            if landing.at < file.size:
                await tries.after(fault)

    async def stat(self, path: str, *, bucket: str = "") -> StoredFile:
        """See `Files.stat`."""
        request = file_pb2.StatFileRequest(bucket=bucket, path=path, caller=self._caller)
        answer = await self._calls.make(lambda: self._stub.StatFile(request, timeout=CALL_SECONDS))
        return to_file(answer.file)

    async def exists(self, path: str, *, bucket: str = "") -> bool:
        """See `Files.exists`."""
        try:
            await self.stat(path, bucket=bucket)
        except NotFound:
            return False
        return True

    async def list(self, prefix: str = "", *, recursive: bool = True) -> AsyncIterator[StoredFile]:
        """See `Files.list`."""
        request = file_pb2.ListFilesRequest(prefix=prefix, recursive=recursive, caller=self._caller)
        while True:
            page = await self._calls.make(lambda: self._stub.ListFiles(request, timeout=CALL_SECONDS))
            for file in page.files:
                yield to_file(file)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def remove(self, path: str, *, bucket: str = "") -> None:
        """See `Files.remove`."""
        request = file_pb2.DeleteFileRequest(bucket=bucket, path=path, caller=self._caller)
        await self._calls.make(lambda: self._stub.DeleteFile(request, timeout=CALL_SECONDS), repeatable=False)

    async def link(self, path: str, *, hours: int = 24, bucket: str = "") -> str:
        """See `Files.link`; where the store does not know the gateway's address it is a path there."""
        request = file_pb2.PresignFileRequest(
            bucket=bucket, path=path, method=file_pb2.PRESIGN_METHOD_GET, expires_seconds=hours * 3600, caller=self._caller
        )  # fmt: skip
        return (await self._calls.make(lambda: self._stub.PresignFile(request, timeout=CALL_SECONDS))).url


def _untold(count: int) -> None:
    """Progress is told by messages here, not by bytes."""
