"""SHA-256 of local files."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path


async def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as lower-case hex, read in a thread."""
    return await asyncio.to_thread(_read, path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
