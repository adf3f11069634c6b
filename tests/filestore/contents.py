"""What the tests write and read. Programs that die in the middle import it too, so it needs nothing that takes long to import."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from filestore.backend import Backend, NewFile


def new_file(bucket: str, path: str, content: bytes | None = None, **more: object) -> NewFile:
    """Describe a file to write, announcing the content's size and checksum when it is given."""
    announced: dict[str, object] = {}
    if content is not None:
        announced = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    values = {"content_type": "application/octet-stream", **announced, **more}
    return NewFile(bucket=bucket, path=path, **values)  # type: ignore[arg-type]


async def pieces(content: bytes, size: int = 1024 * 1024) -> AsyncIterator[bytes]:
    """Send content in chunks of a size."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read_all(store: Backend, bucket: str, path: str) -> bytes:
    """Read a whole file."""
    async with store.open(bucket, path) as opened:
        return b"".join([chunk async for chunk in opened.chunks])
