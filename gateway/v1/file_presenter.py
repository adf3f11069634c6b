"""Shows files to REST clients; calls nobody."""

from __future__ import annotations

import posixpath

from gateway.use.instants import instant
from gateway.v1.answers import files as answers
from runtime.errors import PathRefused, PermissionDenied
from yivideo.file.v1 import file_pb2


def file_info(file: file_pb2.File) -> answers.FileInfo:
    """Show one file of a list."""
    return answers.FileInfo(
        file_path=file.path,
        size=file.size_bytes,
        last_modified=instant(file.update_time),
        etag=file.etag,
        content_type=file.content_type,
        sha256=file.sha256 or None,
    )


def uploaded(file: file_pb2.File, download_url: str, crc32: int | None = None) -> answers.UploadAnswer:
    """Answer an upload."""
    return answers.UploadAnswer(
        file_path=file.path,
        bucket=file.bucket,
        download_url=download_url,
        size=file.size_bytes,
        uploaded_at=instant(file.update_time),
        content_type=file.content_type,
        sha256=file.sha256,
        etag=file.etag,
        crc32=None if crc32 is None else f"{crc32:08x}",
    )


def object_prefix(directory_path: str, share_root: str) -> str:
    """Return the object prefix of a folder under the shared root.

    Raises PathRefused for `..` and for the root itself, PermissionDenied for a path outside the root.
    """
    if ".." in directory_path.split("/") or "\\" in directory_path:
        raise PathRefused("directory_path must not contain '..' or backslashes")
    if not directory_path.startswith(share_root + "/"):
        raise PermissionDenied(f"only folders below {share_root}/ can be deleted")
    prefix = posixpath.normpath(directory_path.removeprefix(share_root + "/").strip("/") or ".")
    if prefix == ".":
        raise PathRefused(f"name a folder below {share_root}/, not {share_root} itself")
    return prefix + "/"
