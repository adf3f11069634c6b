"""One file's way into the store: whole in one request, or in parts that go side by side and are not sent twice.

Parts are files of their own below `.parts/`, named after what they are part of, so any later run finds those that are there. The
store then makes the file of them. It costs the store a copy, so a file goes whole first; one that breaks goes on in parts.

What came with other bytes than were sent is removed again, file or parts: a task would be given the one, a later run the other.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from yivideo_client.digest import sha256_of
from yivideo_client.errors import ClientError, IntegrityError, InvalidRequest, NotFound, UnexpectedAnswer
from yivideo_client.local_file import opened
from yivideo_client.models import StoredFile
from yivideo_client.together import together
from yivideo_client.transport import Transport, quoted
from yivideo_client.tries import FAULTS

PART_BYTES = 64 * 1024 * 1024
PARTS_FOLDER = ".parts"
_MOST_PARTS = 9000
_PARALLEL = 4
_COMPOSE_SECONDS = 3600.0
_REMOVAL_SECONDS = 5.0
_DIGEST = "/sha256"
"""The field that is refused when parts do not make the file that was announced."""

Told = Callable[[int, int], None]
"""Called with the bytes that are through and the bytes in all; from the event loop, so it must be quick."""


@dataclass
class Upload:
    """What goes where."""

    transport: Transport
    stat: Callable[[str, str], Awaitable[StoredFile]]
    source: Path
    path: str
    bucket: str
    only_new: bool
    progress: Told | None
    digest: str = ""
    """SHA-256 of the source; empty: not known. What is stored is held against it, or against the CRC-32 of what was sent."""
    _crc32: str = ""

    async def run(self, parts: bool | None) -> StoredFile:
        """Send the file: in parts, whole, or (None) whole and on in parts when it broke. Raises IntegrityError."""
        file = await asyncio.to_thread(opened, self.source)
        with closing(file):
            size = os.fstat(file.fileno()).st_size
            if parts is None:
                parts_after_a_break, parts = size > PART_BYTES, False
            else:
                parts_after_a_break = False
            stored = None
            if not (parts and size):
                stored = await self._whole(file, size, give_up_early=parts_after_a_break)
            if stored is None:
                self.digest = self.digest or await sha256_of(self.source)
                stored = await self._in_parts(file, size, self.digest)
        if stored.size != size or not await self._is_ours(stored):
            await remove_all(self.transport, [self.path], self.bucket)
            raise IntegrityError(
                f"{self.path} came with other bytes than {self.source} has: it is removed again"
            )
        return stored

    async def _is_ours(self, stored: StoredFile) -> bool:
        """Say whether what is stored has the source's bytes, by the least that tells."""
        if stored.crc32 and self._crc32:
            return stored.crc32 == self._crc32
        if not stored.sha256:
            return True
        # A gateway that does not know `X-Want-Checksum`, or a file of parts.
        self.digest = self.digest or await sha256_of(self.source)
        return stored.sha256 == self.digest

    async def _whole(self, file: BinaryIO, size: int, *, give_up_early: bool) -> StoredFile | None:
        """Send it in one request, again from its beginning when that breaks; None when it broke and should go on in parts."""
        headers = {"If-None-Match": "*"} if self.only_new else {}

        def sent(done: int) -> None:
            if self.progress:
                self.progress(done, size)

        tries = self.transport.tries()
        while True:
            try:
                return await self._put(file, self.path, 0, size, headers, sent)
            except FAULTS as fault:
                await tries.after(fault)
                if give_up_early:
                    return None

    async def _put(
        self,
        file: BinaryIO,
        path: str,
        offset: int,
        size: int,
        headers: dict[str, str],
        sent: Callable[[int], None],
    ) -> StoredFile:
        kind = mimetypes.guess_type(self.path)[0] or "application/octet-stream"
        checked = not self.digest
        if checked:
            headers = {**headers, "X-Want-Checksum": "crc32"}
        reply = await self.transport.bulk.put(
            f"/v1/files/{quoted(path)}", {"Content-Type": kind, **headers}, file, size,
            query={"bucket": self.bucket} if self.bucket else None, sent=sent, offset=offset, checked=checked,
        )  # fmt: skip
        self._crc32 = reply.crc32
        # What is not as a gateway says it is not sent again: whatever took the file would take it again.
        try:
            return StoredFile.from_answer(orjson.loads(reply.body))
        except orjson.JSONDecodeError:
            raise UnexpectedAnswer("the upload was answered with something that is no JSON") from None

    async def _in_parts(self, file: BinaryIO, size: int, digest: str) -> StoredFile:
        """Send what is not there yet, then have the store make the file of it."""
        length = max(PART_BYTES, -(-size // _MOST_PARTS))
        name = hashlib.sha256(
            f"{self.transport.connection.api_key or ''} {digest} {self.path}".encode()
        ).hexdigest()
        starts = range(0, size, length)
        paths = [f"{PARTS_FOLDER}/{name[:32]}/{length}-{number:05d}" for number in range(len(starts))]
        through = dict.fromkeys(paths, 0)
        places = asyncio.Semaphore(_PARALLEL)

        async def one(path: str, start: int) -> None:
            def sent(done: int) -> None:
                through[path] = done
                if self.progress:
                    self.progress(sum(through.values()), size)

            async with places:
                await self._part(file, path, start, min(length, size - start), sent)

        await together(one(path, start) for path, start in zip(paths, starts, strict=True))
        try:
            return await composed(
                self.transport, self.stat, paths, self.path, self.bucket,
                size=size, digest=digest, only_new=self.only_new,
            )  # fmt: skip
        except InvalidRequest as refused:
            if _DIGEST not in {field.pointer for field in refused.fields}:
                raise
            await remove_all(self.transport, paths, self.bucket)
            raise IntegrityError(
                f"the parts of {self.path} came with other bytes than {self.source} has: they are removed again"
            ) from refused

    async def _part(
        self, file: BinaryIO, path: str, start: int, size: int, sent: Callable[[int], None]
    ) -> None:
        tries = self.transport.tries()
        while True:
            try:
                try:
                    if (await self.stat(path, self.bucket)).size == size:
                        sent(size)
                        return
                except NotFound:
                    pass
                await self._put(file, path, start, size, {}, sent)
                return
            except FAULTS as fault:
                await tries.after(fault)


async def composed(
    transport: Transport,
    stat: Callable[[str, str], Awaitable[StoredFile]],
    parts: Sequence[str],
    path: str,
    bucket: str,
    *,
    size: int,
    digest: str,
    only_new: bool,
) -> StoredFile:
    """Have the store make a file of parts that are there, of that size and SHA-256. Raises InvalidRequest where they do not fit."""
    body = {
        "file_path": path, "parts": parts, "bucket": bucket, "size": size, "sha256": digest,
        "content_type": mimetypes.guess_type(path)[0] or "", "only_new": only_new,
    }  # fmt: skip
    try:
        answer = await transport.call(
            "POST", "/v1/files/compose", body=body, repeatable=True, seconds=_COMPOSE_SECONDS
        )
    except NotFound:
        # An answer that was lost: the parts went when the file came.
        there = await stat(path, bucket)
        if there.size != size or there.etag.strip('"') != digest:
            raise
        return there
    return StoredFile.from_answer(answer)


async def remove_all(transport: Transport, paths: Iterable[str], bucket: str) -> None:
    """Remove files of an upload that came to nothing, as far as they are there and it takes no long time.

    Parts that cannot be removed now the store removes when they are old.
    """
    query = {"bucket": bucket} if bucket else None
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(_REMOVAL_SECONDS):
            for path in paths:
                with suppress(NotFound):
                    await transport.call("DELETE", f"/v1/files/{quoted(path)}", query=query, repeatable=False)
