"""What the conditional headers of a download mean for the file as it is now."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from gateway.intake import matches
from gateway.range_header import ByteRange, parse_http_date, parse_range, quoted, strong_etag
from yivideo.file.v1 import file_pb2


def not_modified(request: web.Request, file: file_pb2.File) -> bool:
    """Whether the client has this very content; `If-None-Match` goes before `If-Modified-Since` (RFC 9110 §13.2.2)."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        return matches(tags, quoted(file.etag))
    since = parse_http_date(request.headers.get("If-Modified-Since", ""))
    return since is not None and _modified(file) <= since


def resolved_range(request: web.Request, file: file_pb2.File | None) -> ByteRange | None:
    """Return the range to send; None, the whole file, also when `If-Range` does not name the file as it is now."""
    wanted = parse_range(request.headers.get("Range"))
    condition = request.headers.get("If-Range")
    if wanted is None or condition is None or file is None:
        return wanted
    tag = strong_etag(condition)
    if tag is not None:
        return wanted if quoted(tag) == quoted(file.etag) else None
    return wanted if parse_http_date(condition) == _modified(file) else None


def _modified(file: file_pb2.File) -> datetime:
    return file.update_time.ToDatetime(tzinfo=UTC).replace(microsecond=0)
