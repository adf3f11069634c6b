"""Files over the filestore's FileService; the methods are those of `yivideo_client.files.Files`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from runtime.refusal import answered
from yivideo.file.v1 import file_pb2, file_pb2_grpc
from yivideo_client.digest import path_of_input, sha256_of
from yivideo_client.errors import IntegrityError, NotFound
from yivideo_client.models import StoredFile
from yivideo_client.tries import FAULTS, Broken
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
        return await self._sent(source, path, await sha256_of(source), bucket, only_new, progress)

    async def _sent(
        self, source: Path, path: str, digest: str, bucket: str, only_new: bool, progress: Told | None
    ) -> StoredFile:
        size = (await asyncio.to_thread(source.stat)).st_size

        async def messages() -> AsyncIterator[file_pb2.UploadRequest]:
            header = file_pb2.UploadHeader(
                bucket=bucket, path=path, size_bytes=size, sha256=digest, if_absent=only_new, allow_empty=True,
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
        known = await self.stat(named.path, bucket=named.bucket)
        expected = named.sha256 or known.sha256
        part = target.with_name(f".{target.name}.part")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            await self._fetch(known, descriptor, progress)
        finally:
            os.close(descriptor)
        if expected and await sha256_of(part) != expected:
            part.unlink()
            raise IntegrityError(f"{known.path} arrived with other bytes than it was stored with")
        part.replace(target)
        return known.size

    async def _fetch(self, file: StoredFile, descriptor: int, progress: Told | None) -> None:
        tries, done = self._calls.tries(), 0
        while done < file.size:
            request = file_pb2.DownloadRequest(
                bucket=file.bucket, path=file.path, offset_bytes=done, if_range_etag=file.etag, caller=self._caller
            )  # fmt: skip
            try:
                async with told():
                    async for message in self._stub.Download(request, timeout=TRANSFER_SECONDS):
                        if message.HasField("header"):
                            if message.header.file.etag != file.etag or message.header.offset_bytes != done:
                                raise IntegrityError(
                                    f"{file.path} was replaced while it was downloaded; start again"
                                )
                            continue
                        await asyncio.to_thread(os.pwrite, descriptor, message.chunk, done)
                        done += len(message.chunk)
                        tries.progressed()
                        if progress:
                            progress(done, file.size)
                fault: Exception = Broken("the answer ended early")
            except FAULTS as raised:
                fault = raised
            if done < file.size:
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
