"""Archives: unpacks zip and tar files that strangers made. Runs in a worker process, because it can take long.

Refused: members outside the folder, links, devices, and more files, bytes or expansion than allowed (archive bombs).
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from nodekit.failure import TaskFailed
from nodekit.media.names import checked_object_path
from runtime.errors import PathRefused

SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar")
_LARGEST_RATIO = 200
"""Unpacked to packed bytes; deflate reaches 1000, real media and text stay far below this."""
_RATIO_FREE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


_UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression method that this Python does not know
    RuntimeError,  # an encrypted zip
)


class _Bounds:
    """What may still be unpacked."""

    def __init__(self, archive: Path, limit_files: int, limit_bytes: int) -> None:
        ratio_bytes = max(_RATIO_FREE_BYTES, archive.stat().st_size * _LARGEST_RATIO)
        self._files_left = limit_files
        self._bytes_left = min(limit_bytes, ratio_bytes)

    def take(self, body: IO[bytes], target: Path) -> None:
        """Write one member, counting the bytes that come, not those that its header promises."""
        self._files_left -= 1
        if self._files_left < 0:
            raise TaskFailed("ARCHIVE_TOO_LARGE", "the archive holds more files than this node unpacks")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := body.read(_CHUNK_BYTES):
                self._bytes_left -= len(chunk)
                if self._bytes_left < 0:
                    raise TaskFailed("ARCHIVE_TOO_LARGE", "the archive unpacks to more than this node allows")
                file.write(chunk)


def unpack(archive: Path, target: Path, limit_files: int, limit_bytes: int) -> None:
    """Unpack into a new folder, which is removed again on any failure.

    Raises PathRefused for members that lead out of it or are links, TaskFailed (ARCHIVE_UNREADABLE, ARCHIVE_TOO_LARGE).
    """
    bounds = _Bounds(archive, limit_files, limit_bytes)
    target.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, target, bounds)
        else:
            _unpack_tar(archive, target, bounds)
    except _UNREADABLE as error:
        shutil.rmtree(target)
        raise TaskFailed("ARCHIVE_UNREADABLE", f"the archive cannot be read: {error}") from error
    except BaseException:
        shutil.rmtree(target)
        raise


def _unpack_zip(archive: Path, target: Path, bounds: _Bounds) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if member.is_dir():
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                raise PathRefused(f"the archive holds a link: {member.filename!r}")
            place = _place(target, member.filename)
            with opened.open(member) as body:
                bounds.take(body, place)


def _unpack_tar(archive: Path, target: Path, bounds: _Bounds) -> None:
    with tarfile.open(archive, "r|*") as opened:
        for member in opened:
            if member.isdir():
                continue
            body = opened.extractfile(member) if member.isreg() else None
            if body is None:
                raise PathRefused(f"the archive holds something that is not a file: {member.name!r}")
            bounds.take(body, _place(target, member.name))


def _place(target: Path, name: str) -> Path:
    return target / checked_object_path(name.removeprefix("./"))
