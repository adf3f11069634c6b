"""Sends an upload to the filestore in messages, a bounded piece at a time and at the slower side's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc

from gateway.clients.backend import Backend
from gateway.clients.file_bytes import FILE_BYTES
from runtime.batches import Buffer
from runtime.chunk_codec import chunk_tag, encode
from runtime.errors import PayloadTooLarge
from runtime.refusal import CallEnd
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

MESSAGE_BYTES = 512 * 1024
"""Bytes gathered for one upload message; gRPC's cost a message is large, so many small ones are slow, and what is larger
falls out of the processor's cache between one copy and the next."""

_CHUNK = chunk_tag(file_pb2.UploadRequest, "chunk")


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


class SentUpload:
    """A file that is sent in messages. Leaving its block without `finish` leaves nothing."""

    def __init__(self, backend: Backend, header: file_pb2.UploadHeader, limit_bytes: int) -> None:
        self._backend = backend
        self._header = header
        self._limit_bytes = limit_bytes
        self._sent_bytes = 0
        self.crc32: int | None = None
        """CRC-32 of what the store got, once it is finished; None where the header does not want it."""

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

    async def finish(self, bucket: str = "", path: str = "") -> file_pb2.File:
        """Make the file appear, and return it; bucket and path name one that is `named_last`."""
        trailer = file_pb2.UploadTrailer(size_bytes=self._sent_bytes, bucket=bucket, path=path)
        async with rpc_errors():
            await self._write(file_pb2.UploadRequest(trailer=trailer))
            with suppress(asyncio.InvalidStateError):
                await self._call.done_writing()
            answer = await self._call
        self.crc32 = answer.crc32 if answer.HasField("crc32") else None
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
