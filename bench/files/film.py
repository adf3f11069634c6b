"""The film that is carried, hashed on every way."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from bench.files.ways import Way

MIB = 1024 * 1024


class Hashed:
    """A file that is read or written while its SHA-256 is taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash."""
        chunk = self._file.read(size)
        self._hash.update(chunk)
        return chunk

    def write(self, chunk: bytes | memoryview) -> None:
        """Hash and write."""
        self._hash.update(chunk)
        self._file.write(chunk)

    @property
    def sha256(self) -> str:
        """Hex of all so far."""
        return self._hash.hexdigest()


@dataclass
class Film:
    """What is carried."""

    path: Path
    size: int
    sha256: str
    target: Path

    def up(self, way: Way, path: str) -> float:
        """Carry it to the store; returns MiB a second."""
        with self.path.open("rb", buffering=0) as file:
            source = Hashed(file)
            begun = time.perf_counter()
            way.up(source, self.size, path)
            seconds = time.perf_counter() - begun
        if source.sha256 != self.sha256:
            raise RuntimeError("the source changed")
        return self.size / MIB / seconds

    def down(self, way: Way, path: str) -> float:
        """Carry it back; returns MiB a second."""
        # Overwritten in place: fresh pages of the page cache cost more than all else and would hide the difference.
        with self.target.open("r+b", buffering=0) as file:
            target = Hashed(file)
            begun = time.perf_counter()
            way.down(target, path)
            seconds = time.perf_counter() - begun
        if target.sha256 != self.sha256:
            raise RuntimeError("other bytes came back")
        return self.size / MIB / seconds


def evict(folder: Path) -> None:
    """Tell the page cache to forget every file of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm(folder: Path) -> None:
    """Read every file of a folder, so that the page cache has it."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(MIB):
                    pass


def make_film(folder: Path, size: int) -> Film:
    """Write random bytes, and the file that downloads overwrite."""
    block = os.urandom(16 * MIB)
    digest = hashlib.sha256()
    for name in ("source", "target"):
        with (folder / name).open("wb") as file:
            for start in range(0, size, len(block)):
                part = block[: size - start]
                file.write(part)
                if name == "source":
                    digest.update(part)
    return Film(folder / "source", size, digest.hexdigest(), folder / "target")
