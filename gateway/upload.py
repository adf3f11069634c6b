"""Moves the bytes of an upload from an HTTP client to the filestore, a bounded piece at a time and at the slower side's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import grpc
from aiohttp import web

from gateway.backend import FILESTORE, Backend
from gateway.observe import FILE_BYTES
from runtime.chunk_codec import chunk_tag, encode
from runtime.errors import DeadlineExceeded, PayloadTooLarge
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

MESSAGE_BYTES = 512 * 1024
"""Bytes gathered for one upload message; gRPC's cost a message is large, so many small ones are slow, and what is larger
falls out of the processor's cache between one copy and the next."""

READ_BUFFER_BYTES = 64 * 1024
"""What the HTTP server buffers of a body before it stops reading. Below the 256 KiB that a socket gives at once, so that pieces
are not joined (a copy); small enough that a message stays below the 2 MiB of FileService."""

_CHUNK = chunk_tag(file_pb2.UploadRequest, "chunk")
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


async def messages(content: AsyncIterator[Buffer], limit_bytes: int) -> AsyncIterator[tuple[bytes, int]]:
    """Gather pieces into encoded messages of about MESSAGE_BYTES, each with its size; raises PayloadTooLarge past the limit."""
    held: list[Buffer] = []
    held_bytes = total = 0
    async for piece in content:
        held.append(piece)
        held_bytes += len(piece)
        total += len(piece)
        if total > limit_bytes:
            raise PayloadTooLarge(f"the file is larger than {limit_bytes} bytes")
        if held_bytes >= MESSAGE_BYTES:
            yield encode(_CHUNK, held), held_bytes
            held, held_bytes = [], 0
    if held:
        yield encode(_CHUNK, held), held_bytes


class Upload:
    """One file on its way into the store. It appears there only by `finish`; leaving the block without it leaves nothing."""

    def __init__(self, backend: Backend, header: file_pb2.UploadHeader, limit_bytes: int) -> None:
        self._backend = backend
        self._header = header
        self._limit_bytes = limit_bytes
        self._sent_bytes = 0

    async def __aenter__(self) -> Upload:
        await self._backend.connected(FILESTORE)
        self._call = self._backend.upload()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()  # does nothing once the call has ended

    async def send(self, content: AsyncIterator[Buffer]) -> None:
        """Send the content; raises what the store says against it as soon as it does."""
        async with rpc_errors():
            await self._write(file_pb2.UploadRequest(header=self._header))
            async for message, size_bytes in messages(content, self._limit_bytes):
                await self._write(message)
                self._sent_bytes += size_bytes
                FILE_BYTES.labels("up").inc(size_bytes)

    async def finish(self) -> file_pb2.File:
        """Make the file appear, and return it."""
        trailer = file_pb2.UploadTrailer(size_bytes=self._sent_bytes)
        async with rpc_errors():
            await self._write(file_pb2.UploadRequest(trailer=trailer))
            with suppress(asyncio.InvalidStateError):
                await self._call.done_writing()
            answer = await self._call
        file: file_pb2.File = answer.file
        return file

    async def _write(self, message: file_pb2.UploadRequest | bytes) -> None:
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
