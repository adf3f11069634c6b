"""Links that an S3 checks itself (Signature Version 4 in the query), also with headers that their user must send.

The `minio` library signs no header but Host; a link that writes must also fix whose the object will be.
Made by the letter of AWS's "Authenticating Requests: Using Query Parameters".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import SplitResult, parse_qsl, quote, urlunsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_PAYLOAD = "UNSIGNED-PAYLOAD"


def presigned(
    method: str,
    url: SplitResult,
    *,
    region: str,
    access_key: str,
    secret_key: str,
    date: datetime,
    expires_seconds: int,
    headers: Mapping[str, str],
) -> str:
    """Return the URL, signed for requests that carry these headers (names in lower case) with these values."""
    day = date.strftime("%Y%m%d")
    scope = f"{day}/{region}/s3/aws4_request"
    signed = {"host": url.netloc, **headers}
    names = ";".join(sorted(signed))
    query = [
        *parse_qsl(url.query, keep_blank_values=True),
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", f"{access_key}/{scope}"),
        ("X-Amz-Date", date.strftime("%Y%m%dT%H%M%SZ")),
        ("X-Amz-Expires", str(expires_seconds)),
        ("X-Amz-SignedHeaders", names),
    ]
    encoded = "&".join(sorted(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in query))
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    canonical = f"{method}\n{url.path}\n{encoded}\n{lines}\n{names}\n{_PAYLOAD}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{date.strftime('%Y%m%dT%H%M%SZ')}\n{scope}\n{digest}"
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return urlunsplit(url._replace(query=f"{encoded}&X-Amz-Signature={signature}"))
