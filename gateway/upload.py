"""Moves the bytes of an upload from an HTTP client to the filestore, a bounded piece at a time and at the slower side's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import grpc
from aiohttp import web

from gateway.backend import FILESTORE, Backend
from gateway.observe import FILE_BYTES
from runtime.batches import Buffer
from runtime.chunk_codec import chunk_tag, encode
from runtime.errors import DeadlineExceeded, PayloadTooLarge
from runtime.refusal import CallEnd
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

MESSAGE_BYTES = 512 * 1024
"""Bytes gathered for one upload message; gRPC's cost a message is large, so many small ones are slow, and what is larger
falls out of the processor's cache between one copy and the next."""

READ_BUFFER_BYTES = 64 * 1024
"""What the HTTP server buffers of a body before it stops reading. Below the 256 KiB that a socket gives at once, so that pieces
are not joined (a copy); small enough that a message stays below the 2 MiB of FileService."""

_CHUNK = chunk_tag(file_pb2.UploadRequest, "chunk")


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


class FileUpload(Protocol):
    """One file on its way into the store, by whatever way. It appears there only by `finish`."""

    async def send(self, content: AsyncIterator[Buffer]) -> None:
        """Send the content; raises what the store says against it as soon as it does."""
        ...

    async def finish(self) -> file_pb2.File:
        """Make the file appear, and return it."""
        ...


class SentUpload:
    """A file that is sent in messages. Leaving its block without `finish` leaves nothing."""

    def __init__(self, backend: Backend, header: file_pb2.UploadHeader, limit_bytes: int) -> None:
        self._backend = backend
        self._header = header
        self._limit_bytes = limit_bytes
        self._sent_bytes = 0

    async def __aenter__(self) -> SentUpload:
        self._call = self._backend.upload()
        self._end = CallEnd(self._call)
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
        except grpc.aio.AioRpcError:
            raise await self._end.reason() from None


@asynccontextmanager
async def uploading(
    backend: Backend, header: file_pb2.UploadHeader, expected_bytes: int, limit_bytes: int
) -> AsyncIterator[FileUpload]:
    """Begin an upload, by the best way for about so many bytes; leaving the block without `finish` leaves nothing."""
    await backend.connected(FILESTORE)
    async with backend.in_place_uploads.opened(
        backend.files, header, expected_bytes, limit_bytes
    ) as in_place:
        if in_place is not None:
            yield in_place
            return
        async with SentUpload(backend, header, limit_bytes) as sent:
            yield sent
