"""Which URLs are the store's own, and which files they name."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from filestore.settings import FilestoreSection
from results.file_links import DOWNLOAD, PRESIGNED

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class NamedFile:
    """What a URL names."""

    bucket: str
    path: str
    token: str | None = None
    """Of a link that the gateway serves without a key; None: no such link."""


class Addresses:
    """The bases that URLs of this store begin with."""

    def __init__(self, section: FilestoreSection) -> None:
        s3 = section.s3
        bases = [section.gateway_url, *section.url_aliases]
        if section.backend == "s3":
            bases += [f"{'https' if s3.secure else 'http'}://{s3.endpoint}", s3.public_endpoint]
        self._bases = {_base(url) for url in bases if url}

    def named(self, url: str) -> NamedFile | None:
        """Return which file a URL names; None for one that is not the store's. The names are not checked."""
        base = _base(url)
        if base is None or base not in self._bases:
            return None
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        for begin in (DOWNLOAD, PRESIGNED):
            if parts.path.startswith(f"{begin}/"):
                token = query.get("token", [""])[0] if begin == PRESIGNED else None
                return NamedFile(query.get("bucket", [""])[0], unquote(parts.path[len(begin) + 1 :]), token)
        bucket, _, path = parts.path.lstrip("/").partition("/")
        return NamedFile(unquote(bucket), unquote(path))


def _base(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None for what is no http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    # A name before `@` is not the host, and no address of the store has one.
    if not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port
