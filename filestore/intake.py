"""Checks that what came is the file that was announced."""

from __future__ import annotations

from filestore.backend import NewFile
from runtime.errors import InvalidArgument


def check_announced(file: NewFile, size_bytes: int, sha256: str) -> None:
    """Raise InvalidArgument when a file of that size and checksum is not what its writer announced."""
    if not size_bytes and not file.allow_empty:
        raise InvalidArgument.at("/chunk", "the file is empty")
    if file.size_bytes is not None and file.size_bytes != size_bytes:
        raise InvalidArgument.at("/size_bytes", f"announced {file.size_bytes} bytes, {size_bytes} came")
    if file.sha256 and file.sha256 != sha256:
        raise InvalidArgument.at("/sha256", f"announced {file.sha256}, what came has {sha256}")
