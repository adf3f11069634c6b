"""Reads a range of an open file in chunks, in threads that are a few chunks ahead of whoever takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from filestore.backend import READ_BYTES
from runtime.disk_reader import DiskReader
from runtime.threads import Threads

_READ_AHEAD_CHUNKS = 4


async def read_chunks(threads: Threads, file: int, offset: int, length: int) -> AsyncGenerator[bytes, None]:
    """Yield chunks while a thread reads the next few; ends its thread's work before it ends itself."""
    step = READ_BYTES * _READ_AHEAD_CHUNKS
    end = offset + length
    reader = DiskReader(file, length, step)

    def begin(at: int) -> asyncio.Future[list[bytes]]:
        return threads.begin(reader.read, at, min(step, end - at), READ_BYTES)

    ahead = begin(offset)
    try:
        while offset < end:
            batch = await threads.wait(ahead)
            offset += step
            if offset < end:
                ahead = begin(offset)
            for chunk in batch:
                yield chunk
    finally:
        # The descriptor is closed after this: no thread may still read from it.
        await threads.settle(ahead)
