"""Packs a folder into one zip or tar.gz, and says what that came to."""

from __future__ import annotations

import hashlib
import tarfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

LEVELS = {"fast": 1, "default": 6, "maximum": 9}
"""The names of the origin system and the deflate level that each stands for."""

SUFFIXES = {"zip": ".zip", "tar.gz": ".tar.gz"}
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Packed:
    """One archive."""

    files_count: int
    original_size: int
    """Bytes of all files before packing."""
    compressed_size: int
    """Bytes of the archive."""
    compression_ratio: float
    """compressed_size / original_size; 1.0 for nothing at all."""
    compression_time: float
    """Seconds."""
    checksum: str
    """sha256 of the archive, hex."""
    format: str


def pack(folder: Path, target: Path, archive_format: str, level: str) -> Packed:
    """Write every file under `folder` into the archive `target`, named relative to the folder, in name order.

    Blocking: run it in a process of its own. Only regular files are packed; links are left out.
    """
    began = time.monotonic()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    if archive_format == "zip":
        _zip(folder, files, target, LEVELS[level])
    else:
        _tar(folder, files, target, LEVELS[level])
    original = sum(path.stat().st_size for path in files)
    compressed = target.stat().st_size
    return Packed(
        files_count=len(files),
        original_size=original,
        compressed_size=compressed,
        compression_ratio=round(compressed / original, 4) if original else 1.0,
        compression_time=round(time.monotonic() - began, 3),
        checksum=_sha256(target),
        format=archive_format,
    )


def _zip(folder: Path, files: list[Path], target: Path, level: int) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder).as_posix())


def _tar(folder: Path, files: list[Path], target: Path, level: int) -> None:
    with tarfile.open(target, "w:gz", compresslevel=level) as archive:
        for path in files:
            entry = archive.gettarinfo(path, path.relative_to(folder).as_posix())
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with path.open("rb") as content:
                archive.addfile(entry, content)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
