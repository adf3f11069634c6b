"""Names that come from outside, made safe: object paths are checked, file names are cleaned."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

from runtime.errors import PathRefused

MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 150
_UNSAFE = re.compile(r"[^\w.()\[\]+@=,-]+")


def checked_object_path(path: str) -> str:
    """Return the path when it is one that FileService takes. Raises PathRefused."""
    if not path or len(path.encode()) > MAX_PATH_BYTES:
        raise PathRefused(f"an object path has 1 to {MAX_PATH_BYTES} bytes")
    if any(unicodedata.category(character) == "Cc" for character in path):
        raise PathRefused("an object path has no control characters")
    if "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise PathRefused(f"{path!r} is not a relative path without '.', '..' and empty parts")
    return path


def safe_name(name: str, default: str = "file") -> str:
    """Return a file name that no program takes for an option, a hidden file or another folder; the extension is kept."""
    last = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/"))).name
    cleaned = _UNSAFE.sub("_", last).lstrip(".-")
    if cleaned.strip("_.") == "":
        return default
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot or len(suffix.encode()) > 16:
        stem, dot, suffix = cleaned, "", ""
    room = MAX_NAME_BYTES - len(f"{dot}{suffix}".encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + suffix


def safe_relative(name: str) -> PurePosixPath:
    """Clean a name that may lie in folders (`frames/0001.jpg`), part by part. Raises PathRefused for `..`."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise PathRefused(f"{name!r} is not a file name")
    return PurePosixPath(*[safe_name(part) for part in parts])
