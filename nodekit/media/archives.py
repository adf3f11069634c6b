"""Archives: unpacks zip and tar files that strangers made. Runs in a worker process, because it can take long.

Refused: members outside the folder, links, devices, and more files, folders, levels, bytes or expansion than allowed (archive
bombs).
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
_MOST_LEVELS = 32
_MAX_NAME_BYTES = 255
"""What Linux' file systems allow of one name."""
_MAX_EXTENSION_BYTES = 64 * 1024
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 64 * 1024 + 22
_MAX_DIRECTORY_BYTES = 16 * 1024 * 1024


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
    """What may still be unpacked, and what was."""

    def __init__(self, archive: Path, target: Path, limit_files: int, limit_bytes: int) -> None:
        ratio_bytes = max(_RATIO_FREE_BYTES, archive.stat().st_size * _LARGEST_RATIO)
        self._target = target
        self._limit_files = limit_files
        self._entries = 0
        self._bytes_left = min(limit_bytes, ratio_bytes)
        self._folders: set[str] = set()
        self._files: set[str] = set()

    def count(self, entries: int = 1) -> None:
        """Count members and the folders that their names make: each costs an inode and time, also when it holds nothing."""
        self._entries += entries
        if self._entries > self._limit_files:
            raise TaskFailed(
                "ARCHIVE_TOO_LARGE", f"the archive holds more than {self._limit_files} files and folders"
            )

    def take(self, name: str, body: IO[bytes]) -> None:
        """Write one member, counting the bytes that come, not those that its header promises."""
        name = _checked_name(name)
        self._enter(name)
        target = self._target / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := body.read(_CHUNK_BYTES):
                self._bytes_left -= len(chunk)
                if self._bytes_left < 0:
                    raise TaskFailed("ARCHIVE_TOO_LARGE", "the archive unpacks to more than this node allows")
                file.write(chunk)

    def _enter(self, name: str) -> None:
        """Note a file and the folders above it. Raises TaskFailed where the place is taken."""
        parts = name.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        if name in self._files or name in self._folders or not self._files.isdisjoint(above):
            raise TaskFailed(
                "ARCHIVE_UNREADABLE", f"the archive holds {name!r} twice, or as a file and as a folder"
            )
        new = [folder for folder in above if folder not in self._folders]
        self.count(1 + len(new))
        self._folders.update(new)
        self._files.add(name)


def _checked_name(name: str) -> str:
    """Return a member's path. Raises PathRefused for one that no file here can have."""
    path = checked_object_path(name.removeprefix("./"))
    parts = path.split("/")
    if len(parts) > _MOST_LEVELS:
        raise PathRefused(f"the archive holds a path of more than {_MOST_LEVELS} levels")
    if any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        raise PathRefused(f"the archive holds a name of more than {_MAX_NAME_BYTES} bytes")
    return path


class _Header(tarfile.TarInfo):
    """A tar header whose extensions are bounded: names and attributes are read whole, before anything of them can be counted."""

    def _proc_member(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS and self.size > _MAX_EXTENSION_BYTES:
            raise TaskFailed("ARCHIVE_UNREADABLE", "the archive describes a member at too great length")
        found: tarfile.TarInfo = super()._proc_member(opened)  # type: ignore[misc]
        return found


def unpack(archive: Path, target: Path, limit_files: int, limit_bytes: int) -> None:
    """Unpack into a new folder, which is removed again on any failure.

    Raises PathRefused for members that lead out of it, are links or have names that no file can have; TaskFailed
    (ARCHIVE_UNREADABLE, also for a member that comes twice or is a file and a folder; ARCHIVE_TOO_LARGE).
    """
    bounds = _Bounds(archive, target, limit_files, limit_bytes)
    target.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, bounds)
        else:
            _unpack_tar(archive, bounds)
    except _UNREADABLE as error:
        shutil.rmtree(target)
        raise TaskFailed(
            "ARCHIVE_UNREADABLE", f"{archive.name}, taken for an archive of files, cannot be read: {error}"
        ) from error
    except BaseException:
        shutil.rmtree(target)
        raise


def _unpack_zip(archive: Path, bounds: _Bounds) -> None:
    _check_directory(archive)
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if member.is_dir():
                bounds.count()
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                raise PathRefused(f"the archive holds a link: {member.filename!r}")
            with opened.open(member) as body:
                bounds.take(member.filename, body)


def _check_directory(archive: Path) -> None:
    """Refuse a zip whose list of members is larger than that of any that is let through: it is read whole."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - _ZIP_END_BYTES))
        tail = file.read()
    at = tail.rfind(_ZIP_END)
    if at >= 0 and int.from_bytes(tail[at + 12 : at + 16], "little") > _MAX_DIRECTORY_BYTES:
        raise TaskFailed("ARCHIVE_TOO_LARGE", "the archive holds more files than this node unpacks")


def _unpack_tar(archive: Path, bounds: _Bounds) -> None:
    with tarfile.open(archive, "r|*", tarinfo=_Header) as opened:
        for member in opened:
            if member.isdir():
                bounds.count()
                continue
            body = opened.extractfile(member) if member.isreg() else None
            if body is None:
                raise PathRefused(f"the archive holds something that is not a file: {member.name!r}")
            bounds.take(member.name, body)
