"""Gathers the pieces of a file on its way in: into batches for a disk or a request, and into its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from isal import isal_zlib

Buffer = bytes | memoryview
"""Bytes on their way; a view looks into the message that brought them."""

_JOIN_AT = 256
"""Pieces that are joined into one, so that a writer of tiny chunks costs copies and not memory."""


async def batches(chunks: AsyncIterator[Buffer], batch_bytes: int) -> AsyncIterator[list[Buffer]]:
    """Yield lists of chunks of exactly `batch_bytes` together, the last one less; no chunk is copied but at the edges."""
    batch: list[Buffer] = []
    small: list[Buffer] = []
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


class Crc32:
    """CRC-32 of what passes: zlib's, at some 30 times the speed of a SHA-256, so that an event loop can take it."""

    def __init__(self) -> None:
        self.value = 0

    async def over(self, chunks: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        """Yield the chunks as they come, and take them in."""
        async for chunk in chunks:
            self.value = isal_zlib.crc32(chunk, self.value)
            yield chunk


class Checksum:
    """SHA-256 and size of what has come so far; `update` is meant for a thread (hashlib lets the others run)."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def update(self, batch: list[Buffer]) -> None:
        """Take in the next chunks, in order."""
        for chunk in batch:
            self._hash.update(chunk)
            self.size_bytes += len(chunk)

    @property
    def sha256(self) -> str:
        """Lower-case hex of everything so far."""
        return self._hash.hexdigest()
