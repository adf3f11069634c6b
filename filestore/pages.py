"""Page tokens: where a listing goes on, bound to the listing that it came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from runtime.errors import InvalidArgument


def to_token(bucket: str, prefix: str, recursive: bool, last: str) -> str:
    """Return the token of the next page; empty when there is none."""
    if not last:
        return ""
    raw = json.dumps([_listing(bucket, prefix, recursive), last], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode()


def from_token(bucket: str, prefix: str, recursive: bool, token: str) -> str:
    """Return where to go on; raises InvalidArgument for a token that is not ours or of another listing."""
    if not token:
        return ""
    try:
        listing, last = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise InvalidArgument.at("/page_token", "not a page token") from None
    if listing != _listing(bucket, prefix, recursive) or not isinstance(last, str):
        raise InvalidArgument.at("/page_token", "this token belongs to another listing")
    return last


def _listing(bucket: str, prefix: str, recursive: bool) -> str:
    text = json.dumps([bucket, prefix, recursive])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
