"""SHA-256 of local files, and the path that follows from it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path

from yivideo_client.local_file import name_in_store, opened

_PIECE_BYTES = 256 * 1024
"""What is hashed at a time: it stays in the processor's own cache between the reading and the hashing."""


async def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as lower-case hex, read in a thread; that ends when this call is cancelled.

    Raises OSError for what is no plain file.
    """
    stop = threading.Event()
    reading = asyncio.get_running_loop().run_in_executor(None, _read, path, stop)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({reading})
        raise


def path_of_input(digest: str, name: str, prefix: str, owner: str) -> str:
    """Return `<prefix>/<digest of owner and content>/<name>`: where an owner's input lies, the same in every run."""
    owned = hashlib.sha256(f"{owner}{digest}".encode()).hexdigest()[:32]
    return f"{prefix}/{owned}/{name_in_store(name)}"


def _read(path: Path, stop: threading.Event) -> str:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_PIECE_BYTES))
    with opened(path) as file:
        while not stop.is_set() and (count := file.readinto(buffer)):
            digest.update(buffer[:count])
    return digest.hexdigest()
