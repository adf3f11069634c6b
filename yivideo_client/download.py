"""One file's way to the local disk, in segments that several requests fetch and that an interrupted download need not repeat."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from yivideo_client.bulk import Reply
from yivideo_client.digest import sha256_of
from yivideo_client.errors import IntegrityError
from yivideo_client.landing import Landing, Overlong
from yivideo_client.models import StoredFile
from yivideo_client.partial import Journal, Partial, partial
from yivideo_client.pouring import Pouring, ReaderGone
from yivideo_client.transport import Transport, quoted
from yivideo_client.tries import FAULTS, Broken

SEGMENT_BYTES = 32 * 1024 * 1024
TOLD_BYTES = 4 * 1024 * 1024
"""After so many the progress is told."""
_AT_FIRST = 2
_SLOW_SECONDS = 1.0
"""When no segment has ended for so long, another connection may be worth its while: two give less than half a gigabit a second."""
_RANGE = re.compile(r"bytes (\d+)-")


class _Changed(Exception):
    """The stored file is not the one any more of which segments are here."""


@dataclass(frozen=True)
class _Source:
    """A stored file, range by range."""

    transport: Transport
    file: StoredFile

    async def fill(self, landing: Landing) -> None:
        """Fetch a range, from where it broke off, as often as requests are repeated."""
        tries = self.transport.tries()
        while landing.at < landing.end:
            before = landing.at
            try:
                fault: Exception = Broken("the answer ended early")
                await self._bytes(landing)
            except FAULTS as raised:
                fault = raised
            if landing.at > before:
                tries.progressed()
            if landing.at < landing.end:
                await tries.after(fault)

    async def _bytes(self, landing: Landing) -> None:
        """Fetch what is missing of a range."""
        whole = landing.at == 0 and landing.end == self.file.size

        def accept(head: Reply) -> None:
            if self.file.etag and (head.headers.get("ETag") or self.file.etag) != self.file.etag:
                raise _Changed
            if (head.headers.get("Content-Encoding") or "identity").lower() != "identity":
                raise Broken("the file came in another encoding than it was asked for")
            if not whole and (head.status != 206 or not _begins_at(head, landing.at)):
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


@dataclass(frozen=True)
class _Fetch:
    source: _Source
    descriptor: int
    journal: Journal
    through: Callable[[int], None]
    turn: threading.Lock = field(default_factory=threading.Lock)
    under_way: dict[int, Landing] = field(default_factory=dict)

    def writing_seconds(self) -> dict[int, float]:
        """Return, of each segment under way, how long it has waited for the local file."""
        return {number: landing.writing_seconds() for number, landing in self.under_way.items()}

    async def segment(self, number: int) -> None:
        """Fetch one segment."""
        start, end = number * SEGMENT_BYTES, min(self.source.file.size, (number + 1) * SEGMENT_BYTES)
        loop = asyncio.get_running_loop()
        untold = 0

        def told(count: int) -> None:
            nonlocal untold
            untold += count
            if untold >= TOLD_BYTES:
                loop.call_soon_threadsafe(self.through, untold)
                untold = 0

        landing = self.under_way[number] = Landing(self.descriptor, start, end, told, turn=self.turn)
        try:
            await self.source.fill(landing)
        finally:
            del self.under_way[number]
            self.through(untold)
        self.journal.add(number)


def _begins_at(head: Reply, offset: int) -> bool:
    """Tell whether a range is the one that was asked for; one without a word on that is believed."""
    told = head.headers.get("Content-Range")
    found = _RANGE.match(told) if told else None
    return told is None or (found is not None and int(found[1]) == offset)


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
    with partial(target) as part:
        try:
            await _fetch_all(transport, file, part, parallel, progress)
        except _Changed:
            part.forget()
            raise IntegrityError(f"{file.path} was replaced while it was downloaded; start again") from None
        except OSError as error:  # of a descriptor, which has no name: a full disk
            error.filename = error.filename or str(target)
            raise
        if expected_sha256 and await sha256_of(part.path) != expected_sha256:
            part.forget()
            raise IntegrityError(f"{file.path} arrived with other bytes than it was stored with")
        part.finish()
    return file.size


async def pour(
    transport: Transport,
    file: StoredFile,
    descriptor: int,
    *,
    expected_sha256: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a file that was just looked up to what is written in order; returns its bytes.

    A connection that breaks goes on where it broke. Raises IntegrityError when the file changes or does not fit: what was written
    is written. Raises BrokenPipeError when nobody reads any more.
    """
    digest, loop, untold, done = hashlib.sha256(), asyncio.get_running_loop(), 0, 0

    def told(count: int) -> None:
        nonlocal untold, done
        untold, done = untold + count, done + count
        if progress and (untold >= TOLD_BYTES or done == file.size):
            loop.call_soon_threadsafe(progress, done, file.size)
            untold = 0

    pouring = Pouring(descriptor, 0, file.size, told, digest=digest)
    filling = asyncio.ensure_future(_Source(transport, file).fill(pouring))
    try:
        await asyncio.shield(filling)
    except asyncio.CancelledError:
        pouring.stopped = True
        filling.cancel()
        await asyncio.wait({filling})
        raise
    except _Changed:
        raise IntegrityError(f"{file.path} was replaced while it was downloaded; start again") from None
    except ReaderGone:
        raise BrokenPipeError(errno.EPIPE, "nobody reads it any more") from None
    if expected_sha256 and digest.hexdigest() != expected_sha256:
        raise IntegrityError(f"{file.path} arrived with other bytes than it was stored with")
    return file.size


async def _fetch_all(
    transport: Transport,
    file: StoredFile,
    part: Partial,
    parallel: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    journal = part.journal(file, SEGMENT_BYTES)
    segments = range((file.size + SEGMENT_BYTES - 1) // SEGMENT_BYTES)
    missing = [number for number in segments if number not in journal.done]
    done = file.size - sum(min(SEGMENT_BYTES, file.size - number * SEGMENT_BYTES) for number in missing)

    def through(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, file.size)

    work = _Fetch(_Source(transport, file), part.descriptor, journal, through)
    if not missing:
        return
    try:
        await _at_a_time(work, missing, parallel)
    except* _Changed:
        raise _Changed from None
    except* Exception as several:
        raise several.exceptions[0] from several


async def _at_a_time(work: _Fetch, missing: list[int], parallel: int) -> None:
    """Fetch segments, at first two at a time; another is begun whenever none has ended for a while and the line is the limit.

    Where the local disk is, which stands still now and then while it writes back, more of them would only wait for it.
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
            before = work.writing_seconds()
            try:
                async with asyncio.timeout(_SLOW_SECONDS):
                    await ended.wait()
            except TimeoutError:
                written = sum(
                    seconds - before.get(number, 0.0) for number, seconds in work.writing_seconds().items()
                )
                if written < at_work * _SLOW_SECONDS / 2:
                    group.create_task(worker())
                    at_work += 1
