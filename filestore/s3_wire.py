"""Signed S3 requests over aiohttp: addressing, signature, deadlines, retries, and S3's error codes as our errors.

Addresses and signatures are the `minio` library's. Its own transport is synchronous and wants whole parts in memory to
hash them; here bytes stream through the event loop, and cancelling a call closes its connection at once.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlunsplit
from weakref import WeakValueDictionary

import aiohttp
from minio.credentials.credentials import Credentials
from minio.helpers import BaseURL
from minio.signer import sign_v4_s3
from minio.time import to_amz_date
from yarl import URL

from filestore.backend import Chunk
from filestore.s3_answers import S3Fault
from filestore.s3_presign import presigned
from filestore.settings import S3Section
from runtime.errors import (
    DataLoss,
    DiskFull,
    FileExists,
    FileNotFound,
    Internal,
    InvalidArgument,
    QuotaExceeded,
    Unavailable,
    YiVideoError,
)

_UNSIGNED = "UNSIGNED-PAYLOAD"
_ATTEMPTS = 4
_MAX_ANSWER_BYTES = 8 * 1024 * 1024
_SOCKET_BUFFER_BYTES = 384 * 1024
"""Twice this is buffered before a connection is paused, and a read gives all of it: just below one message's 1 MiB."""

_CLASS_BY_CODE: dict[str, type[YiVideoError]] = {
    "NoSuchKey": FileNotFound,
    "NoSuchBucket": FileNotFound,
    "PreconditionFailed": FileExists,
    "ConditionalRequestConflict": FileExists,
    "EntityTooLarge": InvalidArgument,
    "InvalidBucketName": InvalidArgument,
    "KeyTooLongError": InvalidArgument,
    "QuotaExceeded": QuotaExceeded,
    "InsufficientCapacity": DiskFull,
    "XMinioStorageFull": DiskFull,
    "XMinioAdminBucketQuotaExceeded": QuotaExceeded,
    "NoSuchUpload": Unavailable,
    "BadDigest": DataLoss,
    "IncompleteBody": DataLoss,
    "InvalidPart": DataLoss,
}
_BUCKET_IS_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


class S3Refused(Exception):
    """An answer that is not a success, before the caller has decided what it means."""

    def __init__(self, status: int, fault: S3Fault) -> None:
        super().__init__(f"{status} {fault.code}")
        self.status = status
        self.code = fault.code

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self.status >= 500 or self.status == 429 or self.code in {"SlowDown", "RequestTimeout"}

    def to_error(self) -> YiVideoError:
        """Return the error of our tree; the store's own text may name hosts and keys, so it stays here."""
        if kind := _CLASS_BY_CODE.get(self.code):
            return kind(f"the object store answered {self.code}")
        if self.status == 404:
            return FileNotFound("no such file")
        if self.status in (401, 403):
            return Internal(f"the object store refuses this service ({self.code or self.status})")
        if self.transient:
            return Unavailable(f"the object store answered {self.status} {self.code}".rstrip())
        return Internal(f"the object store answered {self.status} {self.code}".rstrip())


class S3Wire:
    """A connection pool to one S3 endpoint. Made inside a running event loop."""

    def __init__(self, section: S3Section) -> None:
        scheme = "https" if section.secure else "http"
        self._inside = BaseURL(f"{scheme}://{section.endpoint}", section.region)
        self._outside = BaseURL(section.public_endpoint, section.region) if section.public_endpoint else None
        self._region = section.region
        self._credentials = Credentials(section.access_key, section.secret_key.get_secret_value())
        context = ssl.create_default_context(cafile=section.authority) if section.secure else True
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=section.connect_timeout_seconds,
                sock_read=section.read_timeout_seconds,
            ),
            read_bufsize=_SOCKET_BUFFER_BYTES,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
        )

    def turn(self, bucket: str, path: str) -> asyncio.Lock:
        """Return what the writers of this process hold while they look at one path and write it."""
        return self._turns.setdefault((bucket, path), asyncio.Lock())

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[Chunk] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request, once; gives the successful response, its body unread. Raises S3Refused or Unavailable."""
        url = self._inside.build(
            method=method,
            region=self._region,
            bucket_name=bucket,
            object_name=key or None,
            query_params=dict(query or {}),
        )
        date = datetime.now(UTC)
        unsigned: dict[str, str | list[str] | tuple[str]] = {
            **(headers or {}),
            "Host": url.netloc,
            "x-amz-content-sha256": _UNSIGNED,
            "x-amz-date": to_amz_date(date),
        }
        if body is not None:
            unsigned["Content-Length"] = str(sum(map(len, body)))
        signed = sign_v4_s3(
            method=method,
            url=url,
            region=self._region,
            headers=unsigned,
            credentials=self._credentials,
            content_sha256=_UNSIGNED,
            date=date,
        )
        data = None if body is None else _sending(body)
        response = await self._begun(method, urlunsplit(url), signed, data)
        try:
            if response.status >= 300:
                raise S3Refused(response.status, S3Fault.of(await _read(response)))
            yield response
        except aiohttp.ClientError as error:  # not OSError: the caller's own pass through here too
            raise _unreachable(error) from error
        finally:
            response.release()
            await response.wait_for_close()

    async def _begun(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str | list[str] | tuple[str]],
        data: AsyncIterator[Chunk] | None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer, the body unread."""
        try:
            return await self._session.request(
                method,
                URL(url, encoded=True),
                headers={name: str(value) for name, value in headers.items()},
                data=data,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from error

    async def call(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[Chunk] | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        """Send one request and read its answer, trying again when the store is busy or the connection broke.

        Every request made by this method may be repeated without harm. Raises S3Refused or Unavailable.
        """
        for attempt in range(_ATTEMPTS):
            try:
                async with self.stream(
                    method, bucket, key, query=query, headers=headers, body=body
                ) as response:
                    return response.headers, await _read(response)
            except (S3Refused, Unavailable) as error:
                transient = isinstance(error, Unavailable) or error.transient
                if not transient or attempt == _ATTEMPTS - 1:
                    raise
                # Full jitter: many uploads that failed together do not come back together.
                await asyncio.sleep(random.uniform(0, 0.2 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    async def make_bucket(self, bucket: str) -> None:
        """Make a bucket; one that exists and is ours is well."""
        body = None
        if self._region != "us-east-1":
            body = [
                b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>'
                + self._region.encode()
                + b"</LocationConstraint></CreateBucketConfiguration>"
            ]
        try:
            await self.call("PUT", bucket, body=body)
        except S3Refused as refused:
            if refused.code not in _BUCKET_IS_THERE:
                raise refused.to_error() from refused

    def serves(self, *, inside: bool) -> bool:
        """Say whether whoever is inside, or else clients, have a way to the store itself."""
        return inside or self._outside is not None

    def presigned(
        self,
        method: str,
        bucket: str,
        key: str,
        expires_seconds: int,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        inside: bool,
    ) -> str:
        """Sign a URL, without a round trip, for requests that carry these headers; see `serves`."""
        base = self._inside if inside else self._outside
        if base is None:
            raise RuntimeError("clients have no way to this store")
        url = base.build(
            method=method,
            region=self._region,
            bucket_name=bucket,
            object_name=key,
            query_params=dict(query),
        )
        return presigned(
            method,
            url,
            region=self._region,
            access_key=self._credentials.access_key,
            secret_key=self._credentials.secret_key,
            date=datetime.now(UTC),
            expires_seconds=expires_seconds,
            headers={name.lower(): value for name, value in headers.items()},
        )


def _unreachable(error: Exception) -> Unavailable:
    return Unavailable(f"the object store cannot be reached ({type(error).__name__})")


async def _sending(body: Sequence[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in body:
        yield chunk


async def _read(response: aiohttp.ClientResponse) -> bytes:
    raw = await response.content.read(_MAX_ANSWER_BYTES)
    while more := await response.content.read(_MAX_ANSWER_BYTES - len(raw)):
        raw += more
    return raw
