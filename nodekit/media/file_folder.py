"""A local folder as the store of a node that runs alone, without FileService. There is one bucket, and no URLs."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from nodekit.media.files import Files, StoredFile, copy_file
from nodekit.media.names import checked_object_path
from runtime.errors import FileNotFound, PathRefused
from yivideo.task.v1 import task_pb2

_PARTIAL_PREFIX = ".partial-"


class FolderFiles:
    """Objects are files below a root; an object appears by rename, so none is ever seen half written."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def of_task(self, spec: task_pb2.TaskSpec) -> FolderFiles:
        """Return the store itself: whoever can call a node that runs alone is its one user."""
        return self

    def _locate(self, bucket: str, path: str) -> Path:
        if bucket:
            raise FileNotFound(f"this node runs without filestore and has no bucket {bucket!r}")
        found = self._root / checked_object_path(path)
        if not found.parent.resolve().is_relative_to(self._root) or found.is_symlink():
            raise PathRefused(f"{path!r} leads out of the store")
        return found

    async def stat(self, bucket: str, path: str) -> StoredFile:
        """Describe an object."""
        return await asyncio.to_thread(self._stat, bucket, path)

    def _stat(self, bucket: str, path: str) -> StoredFile:
        found = self._locate(bucket, path)
        if not found.is_file():
            raise FileNotFound(f"there is no file {path!r}")
        stat = found.stat()
        return StoredFile(
            "", path, stat.st_size, etag=f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
        )

    async def download(self, file: StoredFile, target: Path) -> None:
        """Copy an object to a new local file."""
        await copy_file(self._locate(file.bucket, file.path), target)

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[StoredFile]:
        """List every object under a prefix, in path order."""
        folder = self._locate(bucket, prefix.rstrip("/"))
        for path in await asyncio.to_thread(lambda: sorted(folder.rglob("*"))):
            if path.is_file() and not path.is_symlink() and not path.name.startswith(_PARTIAL_PREFIX):
                yield await self.stat(bucket, path.relative_to(self._root).as_posix())

    async def upload(self, source: Path, path: str) -> StoredFile:
        """Copy a local file into the store."""
        target = self._locate("", path)
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        partial = target.with_name(f"{_PARTIAL_PREFIX}{secrets.token_hex(8)}")
        try:
            sink = await copy_file(source, partial)
            await asyncio.to_thread(os.replace, partial, target)
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return StoredFile("", path, sink.size_bytes, sink.sha256)

    async def delete(self, file: StoredFile) -> None:
        """Delete an object."""
        found = self._locate(file.bucket, file.path)
        await asyncio.to_thread(found.unlink, missing_ok=True)

    async def resolve(self, url: str) -> tuple[Files, str, str] | None:
        """A folder has no URLs."""
        return None

    async def url(self, file: StoredFile) -> str:
        """A folder has no URLs."""
        return ""

    async def aclose(self) -> None:
        """Nothing to close."""
