"""Moves the bytes of files between an HTTP client and the filestore, a bounded piece at a time and at the slower side's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import grpc
from aiohttp import web

from gateway.backend import FILESTORE, Backend
from gateway.observe import FILE_BYTES
from gateway.problem import UNDER_WAY
from runtime.errors import DataLoss, DeadlineExceeded, PayloadTooLarge
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

MESSAGE_BYTES = 1024 * 1024
"""Bytes gathered for one upload message; gRPC's cost a message is large, so many small ones are slow."""

READ_BUFFER_BYTES = 256 * 1024
"""What the HTTP server buffers of a body before it stops reading; a read gives at most three times this, so that a message
stays below the 2 MiB of FileService."""

_STATUS_LOOKS = 50
_STATUS_LOOK_SECONDS = 0.01

Buffer = bytes | memoryview


def reading(request: web.Request, stalled_seconds: float) -> Callable[[], Awaitable[bytes]]:
    """Return what reads the next piece of a request's body; it raises DeadlineExceeded when the client sends nothing."""
    content = request.content

    async def read() -> bytes:
        try:
            async with asyncio.timeout(stalled_seconds):
                return await content.readany()
        except TimeoutError:
            raise DeadlineExceeded("the upload stalled") from None

    return read


async def pieces(read: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """Yield a raw body."""
    while piece := await read():
        yield piece


async def messages(content: AsyncIterator[Buffer], limit_bytes: int) -> AsyncIterator[file_pb2.UploadRequest]:
    """Gather pieces into messages of about MESSAGE_BYTES; raises PayloadTooLarge past the limit."""
    held: list[Buffer] = []
    held_bytes = total = 0
    async for piece in content:
        held.append(piece)
        held_bytes += len(piece)
        total += len(piece)
        if total > limit_bytes:
            raise PayloadTooLarge(f"the file is larger than {limit_bytes} bytes")
        if held_bytes >= MESSAGE_BYTES:
            yield file_pb2.UploadRequest(chunk=b"".join(held))
            held, held_bytes = [], 0
    if held:
        yield file_pb2.UploadRequest(chunk=b"".join(held))


class Upload:
    """One file on its way into the store. It appears there only by `finish`; leaving the block without it leaves nothing."""

    def __init__(self, backend: Backend, header: file_pb2.UploadHeader, limit_bytes: int) -> None:
        self._backend = backend
        self._header = header
        self._limit_bytes = limit_bytes
        self._sent_bytes = 0

    async def __aenter__(self) -> Upload:
        await self._backend.connected(FILESTORE)
        self._call = self._backend.files.Upload()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()  # does nothing once the call has ended

    async def send(self, content: AsyncIterator[Buffer]) -> None:
        """Send the content; raises what the store says against it as soon as it does."""
        async with rpc_errors():
            await self._write(file_pb2.UploadRequest(header=self._header))
            async for message in messages(content, self._limit_bytes):
                await self._write(message)
                self._sent_bytes += len(message.chunk)
                FILE_BYTES.labels("up").inc(len(message.chunk))

    async def finish(self) -> file_pb2.File:
        """Make the file appear, and return it."""
        trailer = file_pb2.UploadTrailer(size_bytes=self._sent_bytes)
        async with rpc_errors():
            await self._write(file_pb2.UploadRequest(trailer=trailer))
            with suppress(asyncio.InvalidStateError):
                await self._call.done_writing()
            answer = await self._call
        return answer.file

    async def _write(self, message: file_pb2.UploadRequest) -> None:
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError:  # the store has answered already: with an error, which this raises
            await self._call
            raise
        except grpc.aio.AioRpcError as error:
            raise await self._refusal(error) from None

    async def _refusal(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return why the store ended the call.

        A write that fails is INTERNAL to grpc, "Internal error from Core", until the server's own status, which made it
        fail, has been read too; that is a matter of milliseconds and has no event to wait for.
        """
        for _ in range(_STATUS_LOOKS):
            code = await self._call.code()
            if code is not grpc.StatusCode.INTERNAL:
                break
            await asyncio.sleep(_STATUS_LOOK_SECONDS)
        else:
            return error
        trailers = grpc.aio.Metadata(*await self._call.trailing_metadata())
        return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=await self._call.details())


class Download:
    """One file, or a range of it, on its way to a client."""

    def __init__(self, backend: Backend, request: file_pb2.DownloadRequest, stalled_seconds: float) -> None:
        self._call = backend.files.Download(request)
        self._stalled_seconds = stalled_seconds
        self.header = file_pb2.DownloadHeader()

    async def __aenter__(self) -> Download:
        """Wait for the store's first message; raises FileNotFound, RangeRefused."""
        try:
            async with rpc_errors():
                first = await self._next()
        except BaseException:
            self._call.cancel()
            raise
        if first is None or first.WhichOneof("payload") != "header":
            self._call.cancel()
            raise DataLoss("the filestore sent no header")
        self.header = first.header
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()

    async def _next(self) -> file_pb2.DownloadResponse | None:
        async with asyncio.timeout(self._stalled_seconds):
            message = await self._call.read()
        return message if isinstance(message, file_pb2.DownloadResponse) else None

    async def send(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send the bytes. Whatever fails on the way breaks the connection, so that no client takes a part for the whole."""
        response.content_length = self.header.length_bytes
        await response.prepare(request)
        request[UNDER_WAY] = response
        rest = self.header.length_bytes
        message = await self._chunk()
        while message is not None:
            rest -= len(message.chunk)
            # The last chunk goes out when the store has said that all went well, and a client that leaves as soon as it
            # has everything finds nothing left to do here.
            following = await self._chunk() if rest <= 0 else None
            if rest < 0 or following is not None:
                raise DataLoss("the filestore sent more bytes than it announced")
            async with asyncio.timeout(self._stalled_seconds):
                await response.write(message.chunk)
            FILE_BYTES.labels("down").inc(len(message.chunk))
            message = await self._chunk() if rest else None
        if rest:
            raise DataLoss(f"the filestore sent {rest} bytes less than it announced")
        await response.write_eof()

    async def _chunk(self) -> file_pb2.DownloadResponse | None:
        async with rpc_errors():
            return await self._next()
