"""What one object's head says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from filestore.access import ANONYMOUS
from filestore.backend import FileInfo
from filestore.names import DEFAULT_CONTENT_TYPE
from filestore.s3_wire import S3Refused, S3Wire
from filestore.s3_write import OWNER, SHA256, TASK_ID
from runtime.errors import FileNotFound


async def head(wire: S3Wire, bucket: str, path: str) -> FileInfo:
    """Describe one file; its checksum may be IN_TAG. Raises FileNotFound."""
    try:
        headers, _ = await wire.call("HEAD", bucket, path)
    except S3Refused as refused:
        raise named(refused, bucket, path) from refused
    return _to_info(bucket, path, headers)


def named(refused: S3Refused, bucket: str, path: str) -> Exception:
    """Return a refusal as one of our errors; a missing file is named."""
    error = refused.to_error()
    return FileNotFound(f"no file {path} in bucket {bucket}") if isinstance(error, FileNotFound) else error


def _to_info(bucket: str, path: str, headers: Mapping[str, str]) -> FileInfo:
    return FileInfo(
        bucket,
        path,
        int(headers["Content-Length"]),
        headers.get(SHA256, ""),
        headers.get("Content-Type") or DEFAULT_CONTENT_TYPE,
        headers.get("ETag", "").strip('"'),
        parsedate_to_datetime(headers["Last-Modified"]).astimezone(UTC),
        headers.get(OWNER) or ANONYMOUS,
        headers.get(TASK_ID, ""),
    )
