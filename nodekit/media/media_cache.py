"""Fetched media kept for later tasks: files named by a SHA-256, the least recently used go first when there are too many bytes."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from nodekit.metrics import CACHE_BYTES, CACHE_LOOKUPS

_PARTIAL_SUFFIX = ".partial"


class MediaCache:
    """A folder of immutable files. Readers get a hard link, so eviction never takes a file away from a running task."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root = root
        self._limit_bytes = limit_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        root.mkdir(parents=True, exist_ok=True)
        self._load()

    def _load(self) -> None:
        """Take over what an earlier process of this work folder has left."""
        entries = []
        for path in self._root.iterdir():
            if path.suffix == _PARTIAL_SUFFIX:
                path.unlink()
            else:
                stat = path.stat()
                entries.append((stat.st_mtime, path.name, stat.st_size))
        for _, key, size in sorted(entries):
            self._remember(key, size)
        self._evict()

    @property
    def size_bytes(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    @asynccontextmanager
    async def one_at_a_time(self, key: str) -> AsyncIterator[None]:
        """Let only one task at a time fetch what the key names; the others find it cached when their turn comes."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def link(self, key: str, target: Path) -> bool:
        """Link a kept file to a new name; False when it is not kept."""
        try:
            os.link(self._root / key, target)
        except FileNotFoundError:
            self._forget(key)
            CACHE_LOOKUPS.labels("false").inc()
            return False
        if key in self._sizes:
            self._sizes.move_to_end(key)
            os.utime(self._root / key)
        CACHE_LOOKUPS.labels("true").inc()
        return True

    def partial(self) -> Path:
        """Return a new name in the cache's folder to write a file under before it is added."""
        return self._root / f"{secrets.token_hex(12)}{_PARTIAL_SUFFIX}"

    def add(self, key: str, partial: Path, target: Path) -> None:
        """Keep a finished file under its key and link it to `target`; a file that is too large to keep is only moved there."""
        partial.chmod(0o444)
        size = partial.stat().st_size
        if size > self._limit_bytes:
            partial.replace(target)
            return
        os.link(partial, target)
        partial.replace(self._root / key)
        self._forget(key)
        self._remember(key, size)
        self._evict()

    def _remember(self, key: str, size: int) -> None:
        self._sizes[key] = size
        self._count(size)

    def _forget(self, key: str) -> None:
        self._count(-self._sizes.pop(key, 0))

    def _count(self, change: int) -> None:
        self._bytes += change
        CACHE_BYTES.set(self._bytes)

    def _evict(self) -> None:
        while self._bytes > self._limit_bytes:
            key = next(iter(self._sizes))
            self._forget(key)
            (self._root / key).unlink(missing_ok=True)
