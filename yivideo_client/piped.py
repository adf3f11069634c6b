"""What comes through a pipe on its way into the store: its length is known when it has ended, and it comes once.

It is kept block by block in a file without a name, so that a block can be sent again, and no more of the disk is taken than that.
What ends within one block is sent as a file; else the blocks are parts, and the store makes the file of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import os
import select
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from yivideo_client.errors import ClientError, IntegrityError, NotFound
from yivideo_client.local_file import nothing_to_send
from yivideo_client.models import StoredFile
from yivideo_client.transport import Transport
from yivideo_client.upload import PART_BYTES, PARTS_FOLDER, Told

if TYPE_CHECKING:
    from yivideo_client.files import Files

_PIECE_BYTES = 256 * 1024
_LOOK_SECONDS = 0.2
"""How soon a reader that waits for the other side sees that it is to stop."""
_CLEANING_SECONDS = 5.0
_COMPOSE_SECONDS = 3600.0


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
        with tempfile.NamedTemporaryFile(prefix="yivideo-") as kept:
            reading = asyncio.get_running_loop().run_in_executor(None, self._read, kept, most)
            try:
                count, ended = await asyncio.shield(reading)
            except asyncio.CancelledError:
                self.stopped = True
                await asyncio.wait({reading})
                raise
            yield Block(Path(kept.name), count, ended)

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
    except BaseException:
        await _remove(files, parts, bucket)
        raise


async def _composed(
    files: Files, transport: Transport, parts: list[str], path: str, stream: Stream, bucket: str, only_new: bool
) -> StoredFile:  # fmt: skip
    digest = stream.digest.hexdigest()
    body = {
        "file_path": path, "parts": parts, "bucket": bucket, "size": stream.size, "sha256": digest,
        "content_type": mimetypes.guess_type(path)[0] or "", "only_new": only_new,
    }  # fmt: skip
    try:
        answer = await transport.call(
            "POST", "/v1/files/compose", body=body, repeatable=True, seconds=_COMPOSE_SECONDS
        )
        stored = StoredFile.from_answer(answer)
    except NotFound:  # an answer that was lost: the parts went when the file came
        stored = await files.stat(path, bucket=bucket)
        if stored.etag.strip('"') != digest:
            raise
    if stored.size != stream.size or stored.sha256 not in ("", digest):
        raise IntegrityError(f"{path} was stored with other bytes than were read")
    return stored


async def _remove(files: Files, parts: list[str], bucket: str) -> None:
    """Remove parts that nobody will ask for again; what cannot be removed now the store removes when it is old."""
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(_CLEANING_SECONDS):
            for part in parts:
                with suppress(NotFound):
                    await files.remove(part, bucket=bucket)
