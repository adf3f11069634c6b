"""One file's way to the local disk, in segments that several requests fetch and that an interrupted download need not repeat.

Beside `film.mp4` lie, until it is whole, `.film.mp4.part` with the bytes and `.film.mp4.segments` with the ETag they belong to and
the segments that are here. The journal is written behind the bytes of each segment, so that it never promises too much while the
machine runs; where the SHA-256 is known it has the last word.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from yivideo_client.bulk import Piece, Reply
from yivideo_client.digest import sha256_of
from yivideo_client.errors import IntegrityError
from yivideo_client.models import StoredFile
from yivideo_client.transport import Transport, quoted
from yivideo_client.tries import FAULTS, Broken

SEGMENT_BYTES = 32 * 1024 * 1024
TOLD_BYTES = 4 * 1024 * 1024
"""After so many the progress is told."""


class _Changed(Exception):
    """The stored file is not the one any more of which segments are here."""


@dataclass
class _Journal:
    """Which segments of which version of the file are on the disk."""

    path: Path
    etag: str
    size: int
    done: set[int] = field(default_factory=set)

    @classmethod
    def opened(cls, path: Path, file: StoredFile, part: Path) -> _Journal:
        """Go on with what an earlier download left, if it is of the same file."""
        fresh = cls(path, file.etag, file.size)
        if not file.etag or not part.exists() or part.stat().st_size != file.size:
            return fresh
        try:
            kept = orjson.loads(path.read_bytes())
            if (kept["etag"], kept["size"], kept["segment"]) == (file.etag, file.size, SEGMENT_BYTES):
                fresh.done = {int(one) for one in kept["done"]}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return fresh

    def add(self, segment: int) -> None:
        self.done.add(segment)
        record = {
            "etag": self.etag,
            "size": self.size,
            "segment": SEGMENT_BYTES,
            "done": sorted(self.done),
        }
        scratch = self.path.with_suffix(".new")
        scratch.write_bytes(orjson.dumps(record))
        scratch.replace(self.path)


@dataclass(frozen=True)
class _Fetch:
    transport: Transport
    file: StoredFile
    descriptor: int
    journal: _Journal
    through: Callable[[int], None]

    async def segment(self, number: int) -> None:
        """Fetch one segment, from where it broke off, as often as requests are repeated."""
        start, end = number * SEGMENT_BYTES, min(self.file.size, (number + 1) * SEGMENT_BYTES)
        tries = self.transport.tries()
        while start < end:
            before = start
            try:
                fault: Exception = Broken("the answer ended early")
                reached = [start]
                await self._bytes(reached, end)
            except FAULTS as raised:
                fault = raised
            start = reached[0]
            if start > before:
                tries.progressed()
            if start < end:
                await tries.after(fault)
        self.journal.add(number)

    async def _bytes(self, reached: list[int], end: int) -> None:
        """Fetch a range into the file; `reached` has where the next byte goes, also when it breaks off."""
        start = reached[0]
        whole = start == 0 and end == self.file.size
        loop = asyncio.get_running_loop()

        def take(head: Reply) -> Callable[[Piece], None]:
            if self.file.etag and (head.headers.get("ETag") or self.file.etag) != self.file.etag:
                raise _Changed
            if not whole and head.status != 206:
                raise Broken("a range was answered with something else")
            return put

        untold = 0

        def put(piece: Piece) -> None:
            nonlocal untold
            if reached[0] + len(piece) > end:
                raise _Changed
            view = memoryview(piece)
            while view:
                written = os.pwrite(self.descriptor, view, reached[0])
                reached[0] += written
                view = view[written:]
            untold += len(piece)
            if untold >= TOLD_BYTES:
                loop.call_soon_threadsafe(self.through, untold)
                untold = 0

        try:
            await self.transport.bulk.get(
                f"/v1/files/download/{quoted(self.file.path)}",
                {} if whole else {"Range": f"bytes={start}-{end - 1}"},
                take,
                query={"bucket": self.file.bucket} if self.file.bucket else None,
            )
        finally:
            self.through(untold)


async def fetch(
    transport: Transport,
    file: StoredFile,
    target: Path,
    *,
    expected_sha256: str = "",
    parallel: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Fetch a file that was just looked up; returns its bytes. Raises IntegrityError when it changes or does not fit."""
    part = target.with_name(f".{target.name}.part")
    journal = _Journal.opened(target.with_name(f".{target.name}.segments"), file, part)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.truncate(descriptor, file.size)
        await _fetch_all(transport, file, descriptor, journal, parallel, progress)
        if expected_sha256 and await sha256_of(part) != expected_sha256:
            _forget(part, journal.path)
            raise IntegrityError(f"{file.path} arrived with other bytes than it was stored with")
    except _Changed:
        _forget(part, journal.path)
        raise IntegrityError(f"{file.path} was replaced while it was downloaded; start again") from None
    finally:
        os.close(descriptor)
    part.replace(target)
    _forget(journal.path)
    return file.size


async def _fetch_all(
    transport: Transport,
    file: StoredFile,
    descriptor: int,
    journal: _Journal,
    parallel: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    segments = range((file.size + SEGMENT_BYTES - 1) // SEGMENT_BYTES)
    missing = [number for number in segments if number not in journal.done]
    done = file.size - sum(min(SEGMENT_BYTES, file.size - number * SEGMENT_BYTES) for number in missing)

    def through(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, file.size)

    work = _Fetch(transport, file, descriptor, journal, through)
    places = asyncio.Semaphore(max(1, parallel))

    async def one(number: int) -> None:
        async with places:
            await work.segment(number)

    try:
        async with asyncio.TaskGroup() as group:
            for number in missing:
                group.create_task(one(number))
    except* _Changed:
        raise _Changed from None
    except* Exception as several:
        raise several.exceptions[0] from several


def _forget(*paths: Path) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
