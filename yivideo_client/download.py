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

from yivideo_client.bulk import Reply
from yivideo_client.digest import sha256_of
from yivideo_client.errors import IntegrityError
from yivideo_client.landing import Landing, Overlong
from yivideo_client.models import StoredFile
from yivideo_client.transport import Transport, quoted
from yivideo_client.tries import FAULTS, Broken

SEGMENT_BYTES = 32 * 1024 * 1024
TOLD_BYTES = 4 * 1024 * 1024
"""After so many the progress is told."""
_AT_FIRST = 2
_SLOW_SECONDS = 1.0
"""When no segment has ended for so long, another connection is worth its while: below half a gigabit a second at two of them. A
disk that writes back stands still for a quarter of a second now and then, and more writers make that worse."""


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
        loop = asyncio.get_running_loop()
        untold = 0

        def told(count: int) -> None:
            nonlocal untold
            untold += count
            if untold >= TOLD_BYTES:
                loop.call_soon_threadsafe(self.through, untold)
                untold = 0

        landing = Landing(self.descriptor, start, end, told)
        tries = self.transport.tries()
        try:
            while landing.at < end:
                before = landing.at
                try:
                    fault: Exception = Broken("the answer ended early")
                    await self._bytes(landing)
                except FAULTS as raised:
                    fault = raised
                if landing.at > before:
                    tries.progressed()
                if landing.at < end:
                    await tries.after(fault)
        finally:
            self.through(untold)
        self.journal.add(number)

    async def _bytes(self, landing: Landing) -> None:
        """Fetch what is missing of a range."""
        whole = landing.at == 0 and landing.end == self.file.size

        def accept(head: Reply) -> None:
            if self.file.etag and (head.headers.get("ETag") or self.file.etag) != self.file.etag:
                raise _Changed
            if not whole and head.status != 206:
                raise Broken("a range was answered with something else")

        try:
            await self.transport.bulk.get(
                f"/v1/files/download/{quoted(self.file.path)}",
                {} if whole else {"Range": f"bytes={landing.at}-{landing.end - 1}"},
                landing,
                accept,
                query={"bucket": self.file.bucket} if self.file.bucket else None,
            )
        except Overlong:
            raise _Changed from None


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
    if not missing:
        return
    try:
        await _at_a_time(work, missing, parallel)
    except* _Changed:
        raise _Changed from None
    except* Exception as several:
        raise several.exceptions[0] from several


async def _at_a_time(work: _Fetch, missing: list[int], parallel: int) -> None:
    """Fetch segments, at first two at a time; another is begun whenever none has ended for a while, so where the line is the limit.

    Where it is not, more of them wait for each other at the file, which costs processor time and gains nothing.
    """
    rest, places, left = iter(missing), min(max(1, parallel), len(missing)), len(missing)
    ended = asyncio.Event()

    async def worker() -> None:
        nonlocal left
        for number in rest:
            await work.segment(number)
            left -= 1
            ended.set()

    async with asyncio.TaskGroup() as group:
        at_work = min(_AT_FIRST, places)
        for _ in range(at_work):
            group.create_task(worker())
        while left and at_work < places:
            ended.clear()
            try:
                async with asyncio.timeout(_SLOW_SECONDS):
                    await ended.wait()
            except TimeoutError:
                group.create_task(worker())
                at_work += 1


def _forget(*paths: Path) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()
