"""Uploads and downloads, each by the best of its ways, a bounded piece at a time and at the slower side's pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from gateway.clients.backend import FILESTORE, Backend
from gateway.clients.file_bytes import FILE_BYTES
from gateway.clients.upload_stream import SentUpload
from runtime.disk_range import DiskRange
from runtime.errors import DataLoss, InvalidArgument, PayloadTooLarge
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

Buffer = bytes | memoryview

InKernel = Callable[[DiskRange, float, Callable[[int], None]], Awaitable[bool]]
"""Sends a range of a file to the client without its bytes coming here; False, with nothing sent, where that is impossible."""

_READ_SECONDS = 30.0
_SENT = FILE_BYTES.labels("down")


class Body(Protocol):
    """Bytes that do not come through the filestore."""

    header: file_pb2.DownloadHeader

    @property
    def range(self) -> DiskRange | None:
        """Where on this machine's disk they are; None: nowhere."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        ...

    async def aclose(self) -> None:
        """Give back what the body holds."""
        ...


class Download:
    """One file, or a range of it, on its way to whoever asked.

    It comes from the filestore's folder where that is on this machine (`clients.read_in_place`); a long one from the store
    itself where that has links (`clients.direct`); all others in the filestore's stream.
    """

    def __init__(self, backend: Backend, request: file_pb2.DownloadRequest, stalled_seconds: float) -> None:
        self._backend = backend
        self._request = request
        self._stalled_seconds = stalled_seconds
        self._call: Any = None
        self._body: Body | None = None
        self.header = file_pb2.DownloadHeader()

    async def __aenter__(self) -> Download:
        """Wait until the store has described what comes; raises FileNotFound, RangeRefused."""
        backend = self._backend
        self._body = await backend.in_place_reads.open(backend.files, self._request) or (
            await backend.direct.open(backend.files, self._request)
        )
        if self._body is not None:
            self.header = self._body.header
            return self
        self._call = self._backend.download(self._request)
        try:
            async with asyncio.timeout(self._stalled_seconds), rpc_errors():
                first = await self._call.read()
            if not isinstance(first, file_pb2.DownloadResponse) or first.WhichOneof("payload") != "header":
                raise DataLoss("the filestore sent no header")
        except BaseException:
            self._call.cancel()
            raise
        self.header = first.header
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._body is not None:
            await self._body.aclose()
        else:
            self._call.cancel()

    async def send(
        self, write: Callable[[Buffer], Awaitable[None]], in_kernel: InKernel | None = None
    ) -> None:
        """Write the bytes, or have the kernel send them by `in_kernel` where it can.

        Raises DataLoss when the store sends more or fewer than it announced, TimeoutError when either side stands still.
        """
        place = self._body.range if self._body is not None else None
        if place and in_kernel and await in_kernel(place, self._stalled_seconds, _SENT.inc):
            return
        # Each piece puts the one timeout off, instead of having one of its own.
        async with asyncio.timeout(self._stalled_seconds) as stalled:
            await self._carry(write, stalled)

    async def _carry(self, write: Callable[[Buffer], Awaitable[None]], stalled: asyncio.Timeout) -> None:
        clock = asyncio.get_running_loop().time
        rest = self.header.length_bytes
        chunk = await self._chunk()
        while chunk:
            rest -= len(chunk)
            # The last chunk goes out when the store has said that all went well, and a client that leaves as soon as it
            # has everything finds nothing left to do here.
            following = await self._chunk() if rest <= 0 else b""
            if rest < 0 or following:
                raise DataLoss("the store sent more bytes than it announced")
            stalled.reschedule(clock() + self._stalled_seconds)
            await write(chunk)
            _SENT.inc(len(chunk))
            stalled.reschedule(clock() + self._stalled_seconds)
            chunk = await self._chunk() if rest else b""
        if rest:
            raise DataLoss(f"the store sent {rest} bytes less than it announced")

    async def _chunk(self) -> Buffer:
        """Return the next bytes; empty at the end."""
        if self._body is not None:
            return await self._body.read()
        async with rpc_errors():
            message = await self._call.read()
        if isinstance(message, file_pb2.DownloadResponse):
            return message.chunk
        return message if isinstance(message, memoryview) else b""


class FileUpload(Protocol):
    """One file on its way into the store, by whatever way. It appears there only by `finish`."""

    @property
    def crc32(self) -> int | None:
        """CRC-32 of what came, once it is finished; None where the header does not want it."""
        ...

    async def send(self, content: AsyncIterator[Buffer]) -> None:
        """Send the content; raises what the store says against it as soon as it does."""
        ...

    async def finish(self, bucket: str = "", path: str = "") -> file_pb2.File:
        """Make the file appear, and return it; bucket and path name one that is `named_last`."""
        ...


@asynccontextmanager
async def uploading(
    backend: Backend,
    header: file_pb2.UploadHeader,
    expected_bytes: int,
    limit_bytes: int,
    *,
    content_field: str = "",
) -> AsyncIterator[FileUpload]:
    """Begin an upload, by the best way for about so many bytes; leaving the block without `finish` leaves nothing.

    `content_field` is the pointer of what carries the content in the client's request; empty: it is the request's body.
    """
    await backend.connected(FILESTORE)
    with _in_the_clients_words(content_field):
        async with backend.in_place_uploads.opened(
            backend.files, header, expected_bytes, limit_bytes
        ) as in_place:
            if in_place is not None:
                yield in_place
                return
            async with SentUpload(backend, header, limit_bytes) as sent:
                yield sent


@contextmanager
def _in_the_clients_words(content_field: str) -> Iterator[None]:
    """Name what the client has sent, where the store names its own message's chunk."""
    try:
        yield
    except InvalidArgument as error:
        details = [fault.detail for fault in error.fields if fault.pointer == "/chunk"]
        if not details:
            raise
        if content_field:
            raise InvalidArgument.at(content_field, details[0]) from error
        raise InvalidArgument(details[0]) from error


async def read_file(backend: Backend, request: file_pb2.DownloadRequest, limit_bytes: int) -> bytes:
    """Return the whole of a small file; raises PayloadTooLarge past the limit, FileNotFound."""
    pieces: list[bytes] = []

    async def keep(piece: Buffer) -> None:
        pieces.append(bytes(piece))

    async with Download(backend, request, _READ_SECONDS) as download:
        if download.header.length_bytes > limit_bytes:
            raise PayloadTooLarge(f"{request.path} is larger than {limit_bytes} bytes")
        await download.send(keep)
    return b"".join(pieces)
