"""Headers of a download: `Range` as far as one range goes, `If-Range`, entity tags, dates, names (RFC 9110 §13, §14). Pure text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """The bytes that a client wants, in FileService's terms."""

    offset_bytes: int
    """First byte; negative: that many before the end."""
    length_bytes: int
    """0: to the end."""
    empty: bool = False
    """`bytes=-0`: valid, and never satisfiable."""


def parse_range(header: str | None) -> ByteRange | None:
    """Return the range; None, which means the whole file, when there is none, several, or one that is not understood."""
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None or found[0].endswith("=-"):
        return None
    first, last = found[1], found[2]
    if not first:
        return ByteRange(-int(last), 0, empty=int(last) == 0) if last else None
    if not last:
        return ByteRange(int(first), 0)
    if int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) - int(first) + 1)


def content_range(offset_bytes: int, length_bytes: int, size_bytes: int) -> str:
    """Return the header of a 206 answer."""
    return f"bytes {offset_bytes}-{offset_bytes + length_bytes - 1}/{size_bytes}"


def quoted(etag: str) -> str:
    """Return an entity tag as it stands in a header."""
    return '"' + etag.strip('"') + '"'


def strong_etag(header: str) -> str | None:
    """Return the bare tag of an `If-Range` that holds a strong one; None for a weak tag or a date."""
    text = header.strip()
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    return None


def http_date(value: datetime) -> str:
    """Return a time as `Last-Modified` writes it."""
    return format_datetime(value.astimezone(UTC).replace(microsecond=0), usegmt=True)


def parse_http_date(text: str) -> datetime | None:
    """Return the time of a date header, whole seconds; None when it is none."""
    try:
        made = parsedate_to_datetime(text)
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def content_disposition(name: str) -> str:
    """Return an attachment header whose file name survives any alphabet (RFC 6266, RFC 8187)."""
    plain = "".join(c if " " <= c < "\x7f" and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
