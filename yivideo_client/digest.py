"""SHA-256 of local files, and the path that follows from it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path


async def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as lower-case hex, read in a thread."""
    return await asyncio.to_thread(_read, path)


def path_of_input(digest: str, name: str, prefix: str, owner: str) -> str:
    """Return `<prefix>/<digest of owner and content>/<name>`: where an owner's input lies, the same in every run."""
    return f"{prefix}/{hashlib.sha256(f'{owner}{digest}'.encode()).hexdigest()[:32]}/{name}"


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
