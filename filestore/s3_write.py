"""How a file is written to S3: one request when it is small, parts side by side when it is not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

from filestore.backend import Chunk, NewFile
from filestore.intake import check_announced
from filestore.s3_answers import tagging
from filestore.s3_upload import MAX_PARTS, MultipartUpload, finish_despite_cancel
from filestore.s3_wire import S3Refused, S3Wire
from runtime.batches import Checksum, batches
from runtime.errors import Unavailable
from runtime.logs import get_logger
from runtime.threads import Threads

log = get_logger(__name__)

SHA256 = "x-amz-meta-sha256"
"""Metadata of every object that is written here."""

OWNER = "x-amz-meta-owner"
TASK_ID = "x-amz-meta-task-id"
"""Metadata: whose the object is, and which task has stored it."""

IN_TAG = "tagged"
"""Value of the metadata when the checksum was not known before the bytes: then it is in a tag."""

TAG = "sha256"

_OVERTAKEN = (409, 412)
"""What a store answers to a condition that no longer holds, and to two writers at one instant."""

Condition = Callable[[], Awaitable[dict[str, str]]]
"""Looks at what is at the path now and returns the headers by which only that is replaced; raises what forbids it."""

_TURNS = 5
"""Writers of one path that may come first, one after another, before a write gives up."""


class S3Writer:
    """Writes files over one connection pool."""

    def __init__(self, wire: S3Wire, threads: Threads, part_bytes: int, parallel: int) -> None:
        self._wire = wire
        self._threads = threads
        self._part_bytes = part_bytes
        self._parallel = parallel

    async def write(self, file: NewFile, chunks: AsyncIterator[Chunk], condition: Condition) -> Checksum:
        """Write one file and return what came; raises S3Refused, and InvalidArgument when it is not what was announced.

        The condition is asked again when the object appears, because much may have happened while its bytes came.
        """
        part_bytes = self._part_bytes
        if file.size_bytes is not None:
            part_bytes = max(part_bytes, -(-file.size_bytes // MAX_PARTS))
        checksum = Checksum()
        parts = batches(chunks, part_bytes)
        # Whether there is a second part decides how the first one goes; a part is let go of as soon as it is sent.
        waiting: list[list[Chunk]] = [part async for part in _take(parts, 2)]
        for part in waiting:
            await self._threads.run(checksum.update, part)
        if len(waiting) < 2:
            await self._write_small(file, checksum, waiting[0] if waiting else [], condition)
        else:
            await self._write_large(file, checksum, waiting, parts, condition)
        return checksum

    async def _write_small(
        self, file: NewFile, checksum: Checksum, body: list[Chunk], condition: Condition
    ) -> None:
        check_announced(file, checksum.size_bytes, checksum.sha256)

        async def put(conditional: dict[str, str]) -> None:
            headers = {**describing(file, checksum.sha256), **conditional}
            await self._wire.call("PUT", file.bucket, file.path, headers=headers, body=body)

        try:
            await in_turn(self._wire, file, put, condition)
        except S3Refused as refused:
            if refused.code != "NoSuchBucket":
                raise
            await self._wire.make_bucket(file.bucket)
            await in_turn(self._wire, file, put, condition)

    async def _write_large(
        self,
        file: NewFile,
        checksum: Checksum,
        waiting: list[list[Chunk]],
        others: AsyncIterator[list[Chunk]],
        condition: Condition,
    ) -> None:
        upload = await self._begin(file)
        try:
            while waiting:
                await upload.add(waiting.pop(0))
            async for part in others:
                await upload.add(part)
                await self._threads.run(checksum.update, part)
            await upload.wait()
            check_announced(file, checksum.size_bytes, checksum.sha256)
            await in_turn(self._wire, file, upload.complete, condition)
        except BaseException:
            await finish_despite_cancel(asyncio.create_task(upload.abort()))
            raise
        if not file.sha256:
            await self._tag(file, checksum.sha256)

    async def _begin(self, file: NewFile) -> MultipartUpload:
        headers = describing(file, file.sha256 or IN_TAG)
        try:
            return await MultipartUpload.begin(self._wire, file.bucket, file.path, headers, self._parallel)
        except S3Refused as refused:
            if refused.code != "NoSuchBucket":
                raise
        await self._wire.make_bucket(file.bucket)
        return await MultipartUpload.begin(self._wire, file.bucket, file.path, headers, self._parallel)

    async def _tag(self, file: NewFile, sha256: str) -> None:
        """Write the checksum beside the object; a store without tags leaves it unknown, which readers allow."""
        body = tagging({TAG: sha256})
        headers = content_md5(body)
        try:
            await self._wire.call(
                "PUT", file.bucket, file.path, query={"tagging": ""}, headers=headers, body=[body]
            )
        except (S3Refused, Unavailable) as error:
            log.warning("the store keeps no tags; the checksum is not stored", error=str(error))


async def _take(parts: AsyncIterator[list[Chunk]], count: int) -> AsyncIterator[list[Chunk]]:
    for _ in range(count):
        part = await anext(parts, None)
        if part is None:
            return
        yield part


def content_md5(body: bytes) -> dict[str, str]:
    """Return the header that S3 demands with some bodies; it guards nothing secret."""
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode()}


def describing(file: NewFile, sha256: str) -> dict[str, str]:
    """Return the headers that an object is written with."""
    headers = {"Content-Type": file.content_type, SHA256: sha256, **owning(file.owner, file.task_id)}
    return {name: value for name, value in headers.items() if value}


def owning(owner: str, task_id: str) -> dict[str, str]:
    """Return the headers that say whose an object is."""
    return {OWNER: owner, **({TASK_ID: task_id} if task_id else {})}


async def in_turn(
    wire: S3Wire, file: NewFile, write: Callable[[dict[str, str]], Awaitable[None]], condition: Condition
) -> None:
    """Write as the condition allows, looking again each time another writer came first.

    Writers of this process take turns at a path: a radosgw looks at the condition of a large upload before it acts, and lets
    all of several that end at one instant through.
    """
    refused_headers: dict[str, str] = {}
    async with wire.turn(file.bucket, file.path):
        for turn in range(_TURNS):
            headers = await condition()
            if headers == refused_headers and "If-Match" in headers:
                # It does hold: this store (a radosgw, of a multipart upload) refuses whatever has such a condition.
                headers = {}
            try:
                await write(headers)
            except S3Refused as refused:
                if refused.status not in _OVERTAKEN or turn == _TURNS - 1:
                    raise
                refused_headers = headers
            else:
                return
