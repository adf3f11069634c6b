"""Moves the bytes of a download from the store to an HTTP client, a bounded piece at a time and at the slower side's pace."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiohttp import web

from gateway.backend import Backend
from gateway.observe import FILE_BYTES
from gateway.problem import UNDER_WAY
from runtime.errors import DataLoss
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

Buffer = bytes | memoryview

_SENT = FILE_BYTES.labels("down")


class Body(Protocol):
    """Bytes that do not come through the filestore."""

    header: file_pb2.DownloadHeader

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        ...

    async def aclose(self) -> None:
        """Give back what the body holds."""
        ...


class Download:
    """One file, or a range of it, on its way to a client.

    It comes from the filestore's folder where that is on this machine (gateway.read_in_place); a long one from the store itself
    where that has links (gateway.direct); all others in the filestore's stream.
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

    async def send(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send the bytes. Whatever fails on the way breaks the connection, so that no client takes a part for the whole."""
        response.content_length = self.header.length_bytes
        await response.prepare(request)
        request[UNDER_WAY] = response
        async with asyncio.timeout(self._stalled_seconds) as stalled:
            await self._carry(response, stalled)
        await response.write_eof()

    async def _carry(self, response: web.StreamResponse, stalled: asyncio.Timeout) -> None:
        """Send every chunk; each puts the one timeout off, instead of having one of its own."""
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
            await response.write(chunk)
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
