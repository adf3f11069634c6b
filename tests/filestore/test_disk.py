"""Direct writing and reading: the same bytes as the ordinary way, at every alignment and on every file system."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.disk_reader import DIRECT_FROM_BYTES, DiskReader
from runtime.disk_writer import DIRECT_BYTES, DiskWriter
from runtime.errors import DataLoss

MIB = 1024 * 1024
CONTENT = os.urandom(DIRECT_FROM_BYTES + 5 * MIB + 4097)


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on the tests' disk, and one in memory, where direct access may not exist."""
    memory = Path("/dev/shm")
    if request.param == "disk":
        yield tmp_path
    elif memory.is_dir():
        with tempfile.TemporaryDirectory(dir=memory) as name:
            yield Path(name)
    else:
        pytest.skip("this machine has no /dev/shm")


def cut(content: bytes, *sizes: int) -> list[bytes]:
    """Cut content at the given sizes, the rest last."""
    chunks = []
    for size in sizes:
        chunks.append(content[:size])
        content = content[size:]
    return [*chunks, content] if content else chunks


FULL = DIRECT_BYTES
BATCHES = {
    "one full": [cut(CONTENT[:FULL], MIB, MIB, MIB)],
    "full and end": [cut(CONTENT[:FULL], 5, 700_001), [CONTENT[FULL : FULL + 777]]],
    "two full": [[CONTENT[:FULL]], [CONTENT[FULL : 2 * FULL]]],
    "odd, then full": [[CONTENT[:100]], [CONTENT[100 : 100 + FULL]]],
    "many small": [[bytes([number % 251]) for number in range(5000)]],
}


@pytest.mark.parametrize("batches", BATCHES.values(), ids=BATCHES.keys())
def test_what_is_written_is_what_was_given(folder: Path, batches: list[list[bytes]]) -> None:
    """Full batches, odd ends and odd beginnings make the same file as plain concatenation."""
    path = folder / "f"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    writer = DiskWriter(file)
    for batch in batches:
        writer.write(batch)
    expected = b"".join(b"".join(batch) for batch in batches)
    assert os.lseek(file, 0, os.SEEK_CUR) == len(expected)
    os.close(file)
    assert path.read_bytes() == expected
    path.unlink()


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 4097, MIB + 13])
@pytest.mark.parametrize("short", [0, 1, 4096, 5000])
def test_what_is_read_is_what_is_there(folder: Path, offset: int, short: int) -> None:
    """Ranges with odd beginnings and ends, directly read, in steps, are the file's bytes in chunks of the right size."""
    path = folder / "f"
    path.write_bytes(CONTENT)
    file = os.open(path, os.O_RDONLY)
    length = len(CONTENT) - offset - short
    step = 4 * MIB
    reader = DiskReader(file, length, step)
    got: list[bytes] = []
    for at in range(offset, offset + length, step):
        got += reader.read(at, min(step, offset + length - at), MIB)
    os.close(file)
    path.unlink()
    assert b"".join(got) == CONTENT[offset : offset + length]
    assert max(map(len, got)) <= MIB


def test_a_file_that_was_cut_is_told(folder: Path) -> None:
    """A file that ends within the range is DataLoss, directly read or not."""
    path = folder / "f"
    path.write_bytes(CONTENT[: DIRECT_FROM_BYTES // 2])
    for length in (DIRECT_FROM_BYTES, MIB):
        file = os.open(path, os.O_RDONLY)
        reader = DiskReader(file, length, 4 * MIB)
        with pytest.raises(DataLoss):
            reader.read(DIRECT_FROM_BYTES // 2 - 10, 1000, MIB)
        os.close(file)
    path.unlink()
