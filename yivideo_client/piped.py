"""What comes through a pipe on its way into the store: its length is known when it has ended, and it comes once.

It is kept block by block, so that a block can be sent again, and no more of the disk is taken than that; in a file without a name
where the system has such, which is gone also when this process is killed.
What ends within one block is sent as a file; else the blocks are parts, and the store makes the file of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from yivideo_client.errors import IntegrityError
from yivideo_client.local_file import nothing_to_send
from yivideo_client.models import StoredFile
from yivideo_client.transport import Transport
from yivideo_client.upload import PART_BYTES, PARTS_FOLDER, Told, composed, remove_all

if TYPE_CHECKING:
    from yivideo_client.files import Files

_PIECE_BYTES = 256 * 1024
_LOOK_SECONDS = 0.2
"""How soon a reader that waits for the other side sees that it is to stop."""
_OPEN_FILES = Path("/proc/self/fd")
"""Where Linux lets a process open again what it has open. Elsewhere such a path shares its place in the file."""


@dataclass
class Block:
    """The next bytes of a stream, kept where they can be read again."""

    path: Path
    size: int
    ended: bool
    """Whether none follow."""


@dataclass
class Stream:
    """What is read once, from its first byte to its last."""

    source: IO[bytes]
    size: int = 0
    """Bytes that have come."""
    digest: Any = field(default_factory=hashlib.sha256)
    stopped: bool = False
    """Set to have the thread that reads end, also while nothing comes."""

    @asynccontextmanager
    async def block(self, most: int | None) -> AsyncIterator[Block]:
        """Read up to so many bytes, None: to the end, into a file that is gone after the block. Raises OSError of the disk."""
        with _kept() as (kept, path):
            reading = asyncio.get_running_loop().run_in_executor(None, self._read, kept, most)
            try:
                count, ended = await asyncio.shield(reading)
            except asyncio.CancelledError:
                self.stopped = True
                await asyncio.wait({reading})
                raise
            yield Block(path, count, ended)

    def _read(self, kept: IO[bytes], most: int | None) -> tuple[int, bool]:
        count = 0
        while most is None or count < most:
            piece = self._piece(_PIECE_BYTES if most is None else min(_PIECE_BYTES, most - count))
            if not piece:
                break
            kept.write(piece)
            self.digest.update(piece)
            count += len(piece)
        kept.flush()
        self.size += count
        return count, most is None or count < most

    def _piece(self, most: int) -> bytes:
        try:
            descriptor = self.source.fileno()
        except OSError:  # no file of the system
            return self.source.read(most)
        while not self.stopped:
            if select.select([descriptor], [], [], _LOOK_SECONDS)[0]:
                return os.read(descriptor, most)
        return b""


@contextmanager
def _kept() -> Iterator[tuple[IO[bytes], Path]]:
    """Open a file for the time of a block, and say by what path this process reads it. Raises OSError."""
    if _OPEN_FILES.is_dir():
        with tempfile.TemporaryFile() as kept:
            yield kept, _OPEN_FILES / str(kept.fileno())
    else:
        with tempfile.NamedTemporaryFile(prefix="yivideo-") as named:
            yield named, Path(named.name)


async def upload_stream(
    files: Files, transport: Transport, source: IO[bytes], path: str, bucket: str, only_new: bool, progress: Told | None
) -> StoredFile:  # fmt: skip
    """See `Files.upload_stream`."""
    stream, parts, before = Stream(source), list[str](), 0
    folder = f"{PARTS_FOLDER}/{uuid.uuid4().hex}"

    def told(done: int, _: int) -> None:
        if progress:
            progress(before + done, before + done)

    try:
        while True:
            before = stream.size
            async with stream.block(PART_BYTES) as block:
                if not stream.size:
                    raise nothing_to_send(path)
                if block.ended and not parts:
                    return await files.upload(
                        block.path, path, bucket=bucket, only_new=only_new, progress=progress
                    )
                if block.size:
                    parts.append(f"{folder}/{len(parts):05d}")
                    await files.upload(block.path, parts[-1], bucket=bucket, progress=told)
                if block.ended:
                    break
        return await _composed(files, transport, parts, path, stream, bucket, only_new)
    except BaseException as fault:
        await remove_all(transport, parts, bucket)
        if isinstance(fault, IntegrityError):
            raise _other_bytes(path) from fault
        raise


async def _composed(
    files: Files, transport: Transport, parts: list[str], path: str, stream: Stream, bucket: str, only_new: bool
) -> StoredFile:  # fmt: skip
    digest = stream.digest.hexdigest()
    stored = await composed(
        transport, lambda path, bucket: files.stat(path, bucket=bucket), parts, path, bucket,
        size=stream.size, digest=digest, only_new=only_new,
    )  # fmt: skip
    if stored.size != stream.size or stored.sha256 not in ("", digest):
        await remove_all(transport, [path], bucket)
        raise _other_bytes(path)
    return stored


def _other_bytes(path: str) -> IntegrityError:
    return IntegrityError(f"{path} came with other bytes than were read: nothing of it is kept")
