"""Where the gateway serves stored files: the one place that knows these paths besides the gateway's own table of routes."""

from __future__ import annotations

from urllib.parse import quote, urlencode

DOWNLOAD = "/v1/files/download"
"""`<this>/<path>?bucket=<bucket>`: a file for who has a key."""
PRESIGNED = "/v1/files/presigned"
"""`<this>/<path>?bucket=<bucket>&token=<token>`: a file for who has the link."""


def download_link(bucket: str, path: str, base: str = "") -> str:
    """Return the address of a file at the gateway; `base` is the gateway's, such as `http://127.0.0.1:8788`.

    An empty bucket is the store's own and is left out.
    """
    query = f"?{urlencode({'bucket': bucket})}" if bucket else ""
    return f"{base.rstrip('/')}{DOWNLOAD}/{quote(path)}{query}"


def presigned_link(bucket: str, path: str, token: str) -> str:
    """Return path and query of a link that works by its token, to be joined to the gateway's public address."""
    return f"{PRESIGNED}/{quote(path)}?{urlencode({'bucket': bucket, 'token': token})}"
