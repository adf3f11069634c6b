"""Answers about files."""

from __future__ import annotations

from datetime import datetime

from gateway.http.model import Answer


class FileInfo(Answer):
    """One stored file."""

    file_path: str
    """Path inside the bucket."""
    size: int
    """Bytes."""
    last_modified: datetime
    """When its content was last replaced."""
    etag: str
    """Changes when the content does."""
    content_type: str
    """MIME type."""
    sha256: str | None
    """Lower-case hex; null: the store does not know it."""


class UploadAnswer(Answer):
    """Answers an upload."""

    file_path: str
    """Path inside the bucket; usable as a task's input."""
    bucket: str
    """Bucket that holds it."""
    download_url: str
    """Works 24 hours without a key where the store can sign; else with the same key as this request."""
    size: int
    """Bytes stored."""
    uploaded_at: datetime
    """When it was stored."""
    content_type: str
    """MIME type."""
    sha256: str
    """Lower-case hex SHA-256 of the content."""
    etag: str
    """Changes when the content does."""
    crc32: str | None = None
    """CRC-32 (zlib's) of the bytes that came, eight lower-case hex digits; where the request has `X-Want-Checksum: crc32`."""


class DeleteFileAnswer(Answer):
    """Answers the deletion of a file or folder."""

    success: bool
    """Whether all of it is gone."""
    message: str
    """What happened, in English."""
    file_path: str
    """What was named."""
    file_size: int
    """Bytes freed."""
    deleted_count: int | None = None
    """Files deleted; only for folders."""
    failed_paths: list[str] | None = None
    """Files that could not be deleted; only for folders."""


class FilePage(Answer):
    """One page of files, in path order."""

    prefix: str
    """What the paths begin with."""
    bucket: str
    """Bucket that was listed; empty: the store's own."""
    files: list[FileInfo]
    """The files."""
    prefixes: list[str]
    """Folders one level down; only when not recursive."""
    total_count: int
    """Files in this answer."""
    next_page_token: str
    """Token of the next page; empty: this was the last."""


class FileExistsAnswer(Answer):
    """Whether a file exists."""

    file_path: str
    """What was named."""
    bucket: str
    """Bucket; empty: the store's own."""
    exists: bool
    """Whether it is there."""


class FileUrl(Answer):
    """A URL that needs no key."""

    file_path: str
    """The file."""
    bucket: str
    """Bucket; empty: the store's own."""
    download_url: str
    """The URL."""
    expires_in_hours: int
    """How long it works."""
    expires_at: datetime
    """When it stops working."""


class FilesHealth(Answer):
    """Whether files can be stored."""

    status: str
    """healthy or unhealthy."""
    backend: str
    """s3, local, or unknown when the filestore does not answer."""
    minio_host: str
    """Where the store is, under the origin's name."""
    default_bucket: str
    """Bucket that is meant when none is named."""
    used_bytes: int
    """Bytes stored."""
    file_count: int
    """Files stored."""
    quota_bytes: int
    """Bytes that may be stored; 0: no limit."""
    timestamp: datetime
    """When this was asked."""
