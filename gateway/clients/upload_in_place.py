"""Writes an upload into the filestore's own folder when that is on this machine: its bytes then pass one process less.

The filestore lends a file, says how far it may grow, and makes it appear (FileService.UploadInPlace); the gateway hashes and
writes. See docs/adr/0007-files-in-place.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc

from gateway.clients.cooldown import Cooldown
from gateway.clients.file_bytes import FILE_BYTES
from runtime.batches import Buffer, Checksum, Crc32, batches
from runtime.disk_errors import disk_errors
from runtime.disk_writer import DIRECT_BYTES, DiskWriter
from runtime.errors import PayloadTooLarge, Unavailable, Unimplemented, WrongState
from runtime.logs import get_logger
from runtime.refusal import CallEnd
from runtime.rpc_errors import rpc_errors
from runtime.threads import Threads
from yivideo.file.v1 import file_pb2

if TYPE_CHECKING:
    from yivideo.file.v1.file_pb2_grpc import FileServiceAsyncStub

log = get_logger(__name__)

_MOST = 8
"""Uploads in place at the same time; each holds three batches of DIRECT_BYTES. Others are sent as messages."""
_COOLDOWN_SECONDS = 60.0
"""How long a filestore is left alone that lends nothing, or is on another machine."""
_TELL_SECONDS = 5.0
"""A slow client's progress is reported at least so often, so that the store does not think the upload dead."""
_THREADS = 4
_END_SECONDS = 2.0


class InPlaceUpload:
    """One file that is written here. Leaving its block without `finish` leaves nothing."""

    def __init__(
        self, call: _Conversation, file: int, threads: Threads, limit_bytes: int, *, want_crc32: bool
    ) -> None:
        self._call = call
        self._writer = DiskWriter(file)
        self._threads = threads
        self._limit_bytes = limit_bytes
        self._checksum = Checksum()
        self._crc32 = Crc32() if want_crc32 else None
        self._under_way: list[asyncio.Future[None]] = []
        self._told_at = 0.0
        self._unanswered = False

    async def send(self, content: AsyncIterator[Buffer]) -> None:
        """Write and hash the content; raises PayloadTooLarge, and what the store says against it."""
        async with rpc_errors():
            covered = 0
            content = self._crc32.over(content) if self._crc32 else content
            async for batch in batches(self._within_limit(content), DIRECT_BYTES):
                size = sum(map(len, batch))
                covered += size
                await self._tell(covered)
                await self._written()
                self._under_way = [
                    self._threads.begin(self._write, batch),
                    self._threads.begin(self._checksum.update, batch),
                ]
                FILE_BYTES.labels("up").inc(size)
            await self._written()

    async def finish(self, bucket: str = "", path: str = "") -> file_pb2.File:
        """Make the file appear, and return it; bucket and path name one that is `named_last`."""
        trailer = file_pb2.UploadInPlaceTrailer(
            size_bytes=self._checksum.size_bytes, sha256=self._checksum.sha256, bucket=bucket, path=path
        )
        async with rpc_errors():
            await self._answer()
            await self._call.say(file_pb2.UploadInPlaceRequest(trailer=trailer))
            answer = await self._call.receive("file")
            await self._call.ended()
        file: file_pb2.File = answer.file
        return file

    @property
    def crc32(self) -> int | None:
        """CRC-32 of what came; None where the header does not want it."""
        return self._crc32.value if self._crc32 else None

    async def settle(self) -> None:
        """Wait until no thread writes any more; then the descriptor may be closed."""
        await self._threads.settle(*self._under_way)

    async def _within_limit(self, content: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        total = 0
        clock = asyncio.get_running_loop().time
        self._told_at = clock()
        async for piece in content:
            total += len(piece)
            if total > self._limit_bytes:
                raise PayloadTooLarge(f"the file is larger than {self._limit_bytes} bytes")
            if clock() > self._told_at + _TELL_SECONDS:
                await self._tell(total)
            yield piece

    def _write(self, batch: list[Buffer]) -> None:
        with disk_errors():
            self._writer.write(batch)

    async def _written(self) -> None:
        for future in self._under_way:
            await self._threads.wait(future)

    async def _tell(self, size_bytes: int) -> None:
        """Say how far the file is about to be; never more than one such word is without its answer."""
        await self._answer()
        progress = file_pb2.UploadProgress(size_bytes=size_bytes)
        await self._call.say(file_pb2.UploadInPlaceRequest(progress=progress))
        self._unanswered = True
        self._told_at = asyncio.get_running_loop().time()

    async def _answer(self) -> None:
        if self._unanswered:
            self._unanswered = False
            await self._call.receive("covered")


class InPlaceUploads:
    """Finds out whether the filestore lends files to this process, and keeps the threads that write them."""

    def __init__(self, least_bytes: int) -> None:
        self._least_bytes = least_bytes
        self._threads = Threads("upload", _THREADS)
        self._cooldown = Cooldown(_COOLDOWN_SECONDS)
        self._open = 0

    def close(self) -> None:
        """Stop the threads."""
        self._threads.close()

    @asynccontextmanager
    async def opened(
        self,
        files: FileServiceAsyncStub,
        header: file_pb2.UploadHeader,
        expected_bytes: int,
        limit_bytes: int,
    ) -> AsyncIterator[InPlaceUpload | None]:
        """Begin an upload in place for the time of a block; gives None for one that must be sent instead.

        Raises what the store says against the file itself.
        """
        if not self._may_try(expected_bytes):
            yield None
        else:
            self._open += 1
            try:
                async with self._borrowed(files, header, limit_bytes) as upload:
                    yield upload
            finally:
                self._open -= 1

    def _may_try(self, expected_bytes: int) -> bool:
        large = 0 < self._least_bytes <= expected_bytes
        return large and not self._cooldown.active and self._open < _MOST

    @asynccontextmanager
    async def _borrowed(
        self, files: FileServiceAsyncStub, header: file_pb2.UploadHeader, limit_bytes: int
    ) -> AsyncIterator[InPlaceUpload | None]:
        call = _Conversation(files.UploadInPlace())
        try:
            file = await self._lent(call, header)
            if file is None:
                call.cancel()
                yield None
                return
            try:
                upload = InPlaceUpload(call, file, self._threads, limit_bytes, want_crc32=header.want_crc32)
                try:
                    yield upload
                finally:
                    await upload.settle()
            finally:
                os.close(file)
        finally:
            call.cancel()

    async def _lent(self, call: _Conversation, header: file_pb2.UploadHeader) -> int | None:
        """Return the lent file, open; None where there is none to be had."""
        try:
            async with rpc_errors():
                await call.say(file_pb2.UploadInPlaceRequest(header=header))
                path = (await call.receive("lent")).lent.path
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            return await self._threads.acquire(os.close, os.open, path, flags)
        except (WrongState, Unimplemented) as refused:
            reason = refused.message
        except OSError as error:
            reason = f"the lent file cannot be opened here: {os.strerror(error.errno or 0)}"
        self._cooldown.start()
        log.debug("uploads are sent to the filestore", reason=reason, again_in_seconds=_COOLDOWN_SECONDS)
        return None


class _Conversation:
    """One UploadInPlace call."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._end = CallEnd(call)

    async def say(self, message: file_pb2.UploadInPlaceRequest) -> None:
        """Send a message; raises what the store ended the call with."""
        try:
            await self._call.write(message)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            raise await self._end.reason() from None

    async def receive(self, payload: str) -> file_pb2.UploadInPlaceResponse:
        """Return the next answer, which is of one kind."""
        answer = await self._call.read()
        if answer is grpc.aio.EOF or answer.WhichOneof("payload") != payload:
            raise Unavailable("the filestore broke an upload off")
        received: file_pb2.UploadInPlaceResponse = answer
        return received

    async def ended(self) -> None:
        """Wait until the store has ended the call: one that we cancel counts as cancelled there, whatever came of the file."""
        with suppress(TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(_END_SECONDS):
                while await self._call.read() is not grpc.aio.EOF:
                    pass

    def cancel(self) -> None:
        """End the call; does nothing once it has ended."""
        self._call.cancel()
