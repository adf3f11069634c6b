"""Gathers the chunks of an upload into batches and checks at the end that they are the file that was announced."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from filestore.backend import Chunk, NewFile
from runtime.errors import InvalidArgument

_JOIN_AT = 256
"""Pieces that are joined into one, so that a writer of tiny chunks costs copies and not memory."""


async def batches(chunks: AsyncIterator[Chunk], batch_bytes: int) -> AsyncIterator[list[Chunk]]:
    """Yield lists of chunks of exactly `batch_bytes` together, the last one less; no chunk is copied but at the edges."""
    batch: list[Chunk] = []
    small: list[Chunk] = []
    gathered = 0
    async for chunk in chunks:
        rest = chunk
        while gathered + len(rest) >= batch_bytes:
            cut = batch_bytes - gathered
            yield [*batch, *small, rest[:cut]]
            batch, small, gathered = [], [], 0
            rest = rest[cut:]
        if rest:
            small.append(rest)
            gathered += len(rest)
        if len(small) >= _JOIN_AT:
            batch.append(b"".join(small))
            small.clear()
    if gathered:
        yield batch + small


class Checksum:
    """SHA-256 and size of what has come so far; `update` is meant for a thread (hashlib lets the others run)."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def update(self, batch: list[Chunk]) -> None:
        """Take in the next chunks, in order."""
        for chunk in batch:
            self._hash.update(chunk)
            self.size_bytes += len(chunk)

    @property
    def sha256(self) -> str:
        """Lower-case hex of everything so far."""
        return self._hash.hexdigest()

    def check(self, file: NewFile) -> None:
        """Raise InvalidArgument when what came is not what the writer announced."""
        if not self.size_bytes and not file.allow_empty:
            raise InvalidArgument.at("/chunk", "the file is empty")
        if file.size_bytes is not None and file.size_bytes != self.size_bytes:
            raise InvalidArgument.at(
                "/size_bytes", f"announced {file.size_bytes} bytes, {self.size_bytes} came"
            )
        if file.sha256 and file.sha256 != self.sha256:
            raise InvalidArgument.at("/sha256", f"announced {file.sha256}, what came has {self.sha256}")
