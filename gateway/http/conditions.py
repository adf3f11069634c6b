"""What the conditional headers of a request mean for the content as it is now (RFC 9110 §13)."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from gateway.http.range_header import ByteRange, parse_http_date, parse_range, quoted, strong_etag


def matches(condition: str, etag: str) -> bool:
    """Whether an `If-None-Match` list names this tag (weak comparison, RFC 9110 §8.8.3.2)."""
    tags = [part.strip().removeprefix("W/") for part in condition.split(",")]
    return "*" in tags or etag in tags


def not_modified(request: web.Request, etag: str, update_time: datetime) -> bool:
    """Whether the client has this very content; `If-None-Match` goes before `If-Modified-Since` (RFC 9110 §13.2.2)."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        return matches(tags, quoted(etag))
    since = parse_http_date(request.headers.get("If-Modified-Since", ""))
    return since is not None and _whole_second(update_time) <= since


def resolved_range(request: web.Request, etag: str | None, update_time: datetime | None) -> ByteRange | None:
    """Return the range to send; None, the whole content, also when `If-Range` does not name it as it is now.

    Without `etag` and `update_time`, which only `If-Range` needs, the range is what `Range` says.
    """
    wanted = parse_range(request.headers.get("Range"))
    condition = request.headers.get("If-Range")
    if wanted is None or condition is None or etag is None or update_time is None:
        return wanted
    tag = strong_etag(condition)
    if tag is not None:
        return wanted if quoted(tag) == quoted(etag) else None
    return wanted if parse_http_date(condition) == _whole_second(update_time) else None


def _whole_second(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(microsecond=0)
