"""Reads large files from the object store itself, by links that the filestore signs; it knows no S3, only a URL.

Bytes that pass through the filestore cost as much there as here. A store that signs links for its neighbours spares that; for
one that does not, or that this machine cannot reach, the filestore's stream is as good, only slower.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from gateway.clients.cooldown import Cooldown
from gateway.http.range_header import content_range, quoted
from runtime.disk_range import DiskRange
from runtime.errors import Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2

if TYPE_CHECKING:
    from yivideo.file.v1.file_pb2_grpc import FileServiceAsyncStub

log = get_logger(__name__)

_OPEN_SECONDS = 3.0
"""Longest wait for a link and for the store's answer to it."""
_COOLDOWN_SECONDS = 30.0
"""How long a store that could not be reached, or has no links, is left alone."""
_LINK_SECONDS = 60
_READ_BUFFER_BYTES = 64 * 1024
"""Pieces then come as the socket gives them, 256 KiB at most; larger buffers are joined first, which costs a copy."""


class DirectBody:
    """The body of one answer of the store."""

    range: DiskRange | None = None
    """It is on no disk of this machine."""

    def __init__(self, header: file_pb2.DownloadHeader, response: aiohttp.ClientResponse) -> None:
        self.header = header
        self._response = response

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end. Raises Unavailable when the store breaks off or sends nothing."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("the object store broke off a file") from error

    async def aclose(self) -> None:
        """Close the connection, unless all was read: then it has gone back to its pool."""
        self._response.close()


class DirectReads:
    """Connections to whatever store the links lead to. Made inside a running event loop."""

    def __init__(self, least_bytes: int, stalled_seconds: float) -> None:
        self._least_bytes = least_bytes
        self._cooldown = Cooldown(_COOLDOWN_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_OPEN_SECONDS, sock_read=stalled_seconds),
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def open(self, files: FileServiceAsyncStub, request: file_pb2.DownloadRequest) -> DirectBody | None:
        """Return what the filestore's Download would send; None when it is short or cannot be had this way.

        None also for what is to be refused: the filestore says why.
        """
        short = 0 < request.length_bytes < self._least_bytes
        if not self._least_bytes or short or self._cooldown.active:
            return None
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                header = await _described(files, request)
                if header.length_bytes < self._least_bytes:
                    return None
                if url := await _link(files, header.file, request.caller):
                    return await self._get(url, header)
            self._cooldown.start()
        except YiVideoError as error:
            log.debug("no direct read", code=error.code, reason=error.message)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._cooldown.start()
            log.warning(
                "the store cannot be reached from here; files come through the filestore",
                reason=type(error).__name__,
                again_in_seconds=_COOLDOWN_SECONDS,
            )
        return None

    async def _get(self, url: str, header: file_pb2.DownloadHeader) -> DirectBody | None:
        file = header.file
        headers = {"If-Match": quoted(file.etag), "Accept-Encoding": "identity"}
        whole = header.length_bytes == file.size_bytes
        if not whole:
            last = header.offset_bytes + header.length_bytes - 1
            headers["Range"] = f"bytes={header.offset_bytes}-{last}"
        response = await self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False)
        expected = HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT
        part = "" if whole else content_range(header.offset_bytes, header.length_bytes, file.size_bytes)
        if (
            response.status == expected
            and response.content_length == header.length_bytes
            and response.headers.get("Content-Range", "") == part
            and response.headers.get("ETag", "").strip('"') == file.etag.strip('"')
        ):
            return DirectBody(header, response)
        # 412 above all: the file was replaced meanwhile. The filestore begins anew.
        response.close()
        return None


async def _described(
    files: FileServiceAsyncStub, request: file_pb2.DownloadRequest
) -> file_pb2.DownloadHeader:
    """Return the header that a download would begin with; without length when its range is to be refused."""
    async with rpc_errors():
        wanted = file_pb2.StatFileRequest(bucket=request.bucket, path=request.path, caller=request.caller)
        file = (await files.StatFile(wanted)).file
    return ranged(file, request)


def ranged(file: file_pb2.File, request: file_pb2.DownloadRequest) -> file_pb2.DownloadHeader:
    """Return the header that a download of a file begins with; without length when its range is to be refused."""
    size = file.size_bytes
    if request.if_range_etag and request.if_range_etag != file.etag:
        return file_pb2.DownloadHeader(file=file, length_bytes=size)
    offset = request.offset_bytes if request.offset_bytes >= 0 else max(0, size + request.offset_bytes)
    rest = max(0, size - offset)
    length = min(rest, request.length_bytes) if request.length_bytes else rest
    return file_pb2.DownloadHeader(file=file, offset_bytes=offset, length_bytes=length)


async def _link(files: FileServiceAsyncStub, file: file_pb2.File, caller: file_pb2.Caller) -> str:
    """Return a URL of the store itself; empty when the store signs only such that the gateway serves."""
    wanted = file_pb2.PresignFileRequest(
        bucket=file.bucket,
        path=file.path,
        method=file_pb2.PRESIGN_METHOD_GET,
        expires_seconds=_LINK_SECONDS,
        internal=True,
        caller=caller,
    )
    async with rpc_errors():
        made = await files.PresignFile(wanted)
    return made.url if made.url.startswith(("http://", "https://")) else ""
