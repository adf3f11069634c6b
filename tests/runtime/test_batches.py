"""Gathering a file: batches of an exact size, whatever the pieces, and the checksum of all."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from runtime.batches import Checksum, Crc32, batches


@given(st.lists(st.binary(max_size=40), max_size=600), st.integers(1, 64))
def test_batches_are_the_same_bytes_in_exact_sizes(chunks: list[bytes], size: int) -> None:
    """Every batch but the last has exactly the size, none is empty, and together they are the input."""

    async def run() -> list[list[bytes | memoryview]]:
        async def source() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        return [batch async for batch in batches(source(), size)]

    got = asyncio.run(run())
    lengths = [sum(map(len, batch)) for batch in got]
    assert b"".join(b"".join(batch) for batch in got) == b"".join(chunks)
    assert all(length == size for length in lengths[:-1])
    assert all(0 < length <= size for length in lengths)


async def test_a_writer_of_single_bytes_costs_no_memory() -> None:
    """A batch of a hundred thousand one-byte chunks holds some hundred objects."""

    async def source() -> AsyncIterator[bytes]:
        for _ in range(100_000):
            yield b"x"

    [batch] = [batch async for batch in batches(source(), 1_000_000)]
    assert len(batch) < 1000
    assert sum(map(len, batch)) == 100_000


def test_the_checksum_is_sha256_of_all() -> None:
    """Batches are hashed in order."""
    checksum = Checksum()
    checksum.update([b"ab", b"", b"c"])
    checksum.update([b"d"])
    assert checksum.size_bytes == 4
    assert checksum.sha256 == hashlib.sha256(b"abcd").hexdigest()


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_the_crc32_is_zlibs_of_all_that_passed(chunks: list[bytes]) -> None:
    """Whatever the pieces, views among them: the CRC-32 of zlib, and the pieces come out as they went in."""
    crc32 = Crc32()

    async def run() -> list[bytes | memoryview]:
        async def source() -> AsyncIterator[bytes | memoryview]:
            for number, chunk in enumerate(chunks):
                yield memoryview(chunk) if number % 2 else chunk

        return [chunk async for chunk in crc32.over(source())]

    assert asyncio.run(run()) == chunks
    assert crc32.value == zlib.crc32(b"".join(chunks))
