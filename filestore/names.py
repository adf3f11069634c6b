"""Which bucket names, paths and prefixes are accepted; nothing else reaches a backend."""

from __future__ import annotations

import mimetypes
import re

from runtime.errors import InvalidArgument, PathRefused

MAX_PATH_BYTES = 1024
DEFAULT_CONTENT_TYPE = "application/octet-stream"

_BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_DOTTED_QUAD = re.compile(r"\d+\.\d+\.\d+\.\d+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}( *;[ -~]{1,200})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

# What the media of this project is called, whatever the machine's own MIME table says.
_TYPES = mimetypes.MimeTypes()
for _suffix, _type in {
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".ass": "text/x-ssa",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".opus": "audio/opus",
    ".mkv": "video/x-matroska",
    ".webp": "image/webp",
    ".jsonl": "application/jsonl",
}.items():
    _TYPES.add_type(_type, _suffix)


def checked_bucket(bucket: str) -> str:
    """Return the name when every S3 accepts it: 3 to 63 of a-z, 0-9, `-`, `.`; raises InvalidArgument."""
    if not _BUCKET.fullmatch(bucket) or _DOTTED_QUAD.fullmatch(bucket):
        raise InvalidArgument.at("/bucket", "a bucket has 3 to 63 characters out of a-z, 0-9, '-' and '.'")
    return bucket


def _check(text: str, what: str) -> None:
    if _CONTROL.search(text):
        raise PathRefused(f"the {what} has a control character")
    if "\\" in text:
        raise PathRefused(f"the {what} has a backslash; parts are separated by '/'")
    if len(text.encode()) > MAX_PATH_BYTES:
        raise PathRefused(f"the {what} is longer than {MAX_PATH_BYTES} bytes")
    if text.startswith("/"):
        raise PathRefused(f"the {what} is absolute; it must be relative to its bucket")


def checked_path(path: str) -> str:
    """Return the path of a file when it is relative, clean and at most 1024 bytes long; raises PathRefused."""
    if not path:
        raise PathRefused("the path is empty")
    _check(path, "path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise PathRefused("the path has an empty part, '.' or '..'")
    return path


def checked_prefix(prefix: str) -> str:
    """Return what listed paths must begin with: any beginning of a path, or empty; raises PathRefused."""
    _check(prefix, "prefix")
    parts = prefix.split("/")
    if any(part in ("", ".", "..") for part in parts[:-1]) or parts[-1] == "..":
        raise PathRefused("the prefix has an empty part, '.' or '..'")
    return prefix


def checked_folder(prefix: str) -> str:
    """Return the folder with its last `/`; raises InvalidArgument for an empty one, PathRefused for a bad one."""
    folder = prefix.removesuffix("/")
    if not folder:
        raise InvalidArgument.at("/prefix", "name the folder to delete; the whole bucket is never deleted")
    return checked_path(folder) + "/"


def checked_sha256(sha256: str) -> str:
    """Return the checksum in lower case; raises InvalidArgument unless it is empty or 64 hex digits."""
    lower = sha256.lower()
    if lower and not _SHA256.fullmatch(lower):
        raise InvalidArgument.at("/sha256", "a SHA-256 has 64 hex digits")
    return lower


def content_type_of(path: str, given: str = "") -> str:
    """Return the writer's MIME type, or what the name tells; raises InvalidArgument for a malformed one."""
    if not given:
        return _TYPES.guess_type(path, strict=False)[0] or DEFAULT_CONTENT_TYPE
    if not _CONTENT_TYPE.fullmatch(given):
        raise InvalidArgument.at("/content_type", "not a MIME type such as 'video/mp4'")
    return given
