"""Copies an object within an S3: what was written aside gets its name, its owner and its type."""

from __future__ import annotations

import asyncio
import uuid
from urllib.parse import quote

from filestore.backend import FileInfo, NewFile
from filestore.s3_upload import MultipartUpload, finish_despite_cancel
from filestore.s3_wire import S3Refused, S3Wire
from filestore.s3_write import Condition, describing, in_turn
from runtime.errors import Unavailable
from runtime.logs import get_logger

log = get_logger(__name__)

INCOMING = ".yivideo-incoming/"
"""Prefix of what is written before its name is known; what a crash leaves there goes with other abandoned uploads."""

_MAX_COPY_BYTES = 5 * 1024**3
"""What S3 copies in one request."""
_PART_BYTES = 1024**3
_PARALLEL = 2


def incoming_path() -> str:
    """Return a new path for a file without a name."""
    return f"{INCOMING}{uuid.uuid4().hex}"


async def copy(wire: S3Wire, source: FileInfo, target: NewFile, condition: Condition) -> None:
    """Copy an object to where its new description says. Raises S3Refused, and what the condition says against it."""
    origin = {"x-amz-copy-source": f"/{source.bucket}/{quote(source.path)}"}
    headers = describing(target, source.sha256)
    if source.size_bytes > _MAX_COPY_BYTES:
        await _copy_parts(wire, source, target, origin, condition)
        return

    async def at_once(conditional: dict[str, str]) -> None:
        always = {**headers, **origin, "x-amz-metadata-directive": "REPLACE", **conditional}
        await wire.call("PUT", target.bucket, target.path, headers=always)

    try:
        await in_turn(wire, target, at_once, condition)
    except S3Refused as refused:
        if refused.code != "NoSuchBucket":
            raise
        await wire.make_bucket(target.bucket)
        await in_turn(wire, target, at_once, condition)


async def _copy_parts(
    wire: S3Wire, source: FileInfo, target: NewFile, origin: dict[str, str], condition: Condition
) -> None:
    described = describing(target, source.sha256)
    upload = await MultipartUpload.begin(wire, target.bucket, target.path, described, _PARALLEL)
    try:
        for first in range(0, source.size_bytes, _PART_BYTES):
            last = min(first + _PART_BYTES, source.size_bytes) - 1
            await upload.add([], {**origin, "x-amz-copy-source-range": f"bytes={first}-{last}"})
        await upload.wait()
        await in_turn(wire, target, upload.complete, condition)
    except BaseException:
        await finish_despite_cancel(asyncio.create_task(upload.abort()))
        raise


async def forget(wire: S3Wire, bucket: str, path: str) -> None:
    """Remove what was written aside; where that fails, the cleaner does it."""
    try:
        await wire.call("DELETE", bucket, path)
    except (S3Refused, Unavailable) as error:
        log.warning("what was written aside stays until the cleaner comes", error=str(error))
