"""Downloads over http: bounded, and resumed by Range requests when the connection breaks."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import aiohttp

from nodekit.failure import TaskFailed
from nodekit.media.files import CHUNK_BYTES, Sink, too_large
from runtime.errors import FileNotFound, Internal, Unavailable

Request: TypeAlias = "Callable[[Mapping[str, str]], AbstractAsyncContextManager[aiohttp.ClientResponse]]"
"""Sends the GET with these headers; raises Unavailable when the connection cannot be made or breaks."""

MAX_FAILURES = 5
"""Failures in a row, each without a byte of progress, after which a download is given up."""
_BACKOFF_SECONDS = 0.2
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Changed(Exception):
    """The source is not what the first bytes came from."""


class WebSource:
    """One thing to download. `validator` (ETag or Last-Modified) is known after the first response."""

    def __init__(self, request: Request, what: str, limit_bytes: int) -> None:
        self._request = request
        self._what = what
        self._limit_bytes = limit_bytes
        self.validator = ""

    async def download(self, sink: Sink, accept: Callable[[str], bool] = lambda _: True) -> bool:
        """Write the whole body into the sink; False when `accept` declined after the first response's headers.

        `accept` gets the strong validator (empty: none) before any body is read, so that a cache can answer instead.
        Raises FileNotFound, PayloadTooLarge, TaskFailed (MEDIA_REFUSED) or Unavailable.
        """
        failures = 0
        while True:
            before = sink.size_bytes
            try:
                return await self._continue(sink, accept if before == 0 else None)
            except _Changed:
                await sink.restart()
                failures += 1
                reason: Exception = Unavailable(f"{self._what} changed while it was read")
            except Unavailable as error:
                failures = 1 if sink.size_bytes > before else failures + 1
                reason = error
                if not self.validator:
                    await sink.restart()
            if failures >= MAX_FAILURES:
                raise reason
            await asyncio.sleep(_BACKOFF_SECONDS * 2 ** (failures - 1))

    async def _continue(self, sink: Sink, accept: Callable[[str], bool] | None) -> bool:
        headers = {"Accept-Encoding": "identity"}
        if sink.size_bytes:
            headers["Range"] = f"bytes={sink.size_bytes}-"
            headers["If-Range"] = self.validator
        async with self._request(headers) as response:
            self._check(response, sink)
            if response.status == 416:
                return True
            if response.status == 200:
                self.validator = _strong_validator(response)
                if accept is not None and not accept(self.validator):
                    return False
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                await _write(sink, chunk)
            return True

    def _check(self, response: aiohttp.ClientResponse, sink: Sink) -> None:
        status = response.status
        if status in (404, 410):
            raise FileNotFound(f"{self._what} answered {status}")
        if status == 429 or status >= 500:
            raise Unavailable(f"{self._what} answered {status}")
        content_range = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if status == 416 and content_range and content_range[2] == str(sink.size_bytes):
            return  # the connection broke after the last byte
        if status == 206:
            if not content_range or content_range[1] != str(sink.size_bytes):
                raise _Changed
        elif status == 200:
            if sink.size_bytes:
                raise _Changed
        elif status == 416:
            raise _Changed
        else:
            raise TaskFailed("MEDIA_REFUSED", f"{self._what} answered {status}")
        if sink.size_bytes + (response.content_length or 0) > self._limit_bytes:
            raise too_large(self._limit_bytes)


def _strong_validator(response: aiohttp.ClientResponse) -> str:
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return "" if etag else response.headers.get("Last-Modified", "")


async def _write(sink: Sink, chunk: bytes) -> None:
    """Write; a full disk must not look like a broken connection, which is an OSError too."""
    try:
        await sink.write(chunk)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TaskFailed("DISK_FULL", "the node's disk is full", retryable=True) from error
        raise Internal(f"cannot write a local file: {error.strerror}") from error
