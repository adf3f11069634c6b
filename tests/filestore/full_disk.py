"""Writes to a store on a disk of 12 MiB until it is full: `python -m tests.filestore.full_disk <root>`; for test_local.py."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from filestore.local import LocalBackend
from runtime.errors import DiskFull
from tests.filestore.contents import new_file, pieces, read_all

MIB = 1024 * 1024
BUCKET = "yivideo"


async def refused(store: LocalBackend, size: int, *, announced: bool) -> None:
    """Write a file that does not fit and see that it is refused and leaves its space free."""
    content = os.urandom(size)
    free = store._blobs.free_bytes()
    file = new_file(BUCKET, "large", content if announced else None)
    try:
        await store.put(file, pieces(content))
    except DiskFull as error:
        assert "full" in str(error), error
    else:
        raise AssertionError("a file larger than the disk was taken")
    assert store._blobs.free_bytes() >= free - 128 * 1024, "the refused file still takes space"


async def main(root: Path) -> None:
    """Fill the disk both ways; the store goes on, and what it had is whole."""
    store = LocalBackend(root)
    await store.start(BUCKET)
    kept = os.urandom(4 * MIB)
    await store.put(new_file(BUCKET, "kept", kept), pieces(kept))
    await refused(store, 20 * MIB, announced=True)
    await refused(store, 20 * MIB, announced=False)
    assert await read_all(store, BUCKET, "kept") == kept
    await store.put(new_file(BUCKET, "small", b"x"), pieces(b"x"))
    await store.delete(BUCKET, "kept")
    await store.put(new_file(BUCKET, "again", kept), pieces(kept))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
    print("held")
