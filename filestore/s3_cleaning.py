"""Removes from an S3 what uploads have left that never ended."""

from __future__ import annotations

from datetime import datetime

from minio.xml import unmarshal

from filestore.access import EVERYTHING
from filestore.s3_answers import S3Uploads
from filestore.s3_copy import INCOMING
from filestore.s3_listing import list_page
from filestore.s3_wire import S3Refused, S3Wire

_ROWS = 1000


async def clean(wire: S3Wire, bucket: str, before: datetime) -> int:
    """Abort multipart uploads that began before an instant, and delete what was written aside before it; gives how many."""
    try:
        return await _abort_uploads(wire, bucket, before) + await _delete_nameless(wire, bucket, before)
    except S3Refused as refused:
        raise refused.to_error() from refused


async def _abort_uploads(wire: S3Wire, bucket: str, before: datetime) -> int:
    markers: dict[str, str] = {}
    removed = 0
    while True:
        query = {"uploads": "", "encoding-type": "url", **markers}
        _, answer = await wire.call("GET", bucket, query=query)
        page = unmarshal(S3Uploads, answer.decode())
        for upload in page.uploads:
            if upload.begin_time <= before:
                await wire.call("DELETE", bucket, upload.key, query={"uploadId": upload.upload_id})
                removed += 1
        if not page.truncated:
            return removed
        markers = {"key-marker": page.next_key, "upload-id-marker": page.next_upload_id}


async def _delete_nameless(wire: S3Wire, bucket: str, before: datetime) -> int:
    removed, after = 0, ""
    while True:
        page = await list_page(
            wire, bucket, INCOMING, recursive=True, limit=_ROWS, after=after, reach=EVERYTHING
        )
        for file in page.files:
            if file.update_time <= before:
                await wire.call("DELETE", bucket, file.path)
                removed += 1
        after = page.last
        if not after:
            return removed
