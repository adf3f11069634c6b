"""Which browser pages may act here: the check against cross-site requests, cross-site WebSockets and DNS rebinding."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from ipaddress import ip_address

from aiohttp import web
from yarl import URL

from runtime.errors import PermissionDenied

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_websocket_handshake(request: web.Request) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455 §4.1)."""
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


class BrowserOriginPolicy:
    """Which browsers' pages may use a surface that trusts the browser itself: without keys, or by a cookie.

    Without keys every program on this machine may act, and a browser is one: any page that it shows could send requests
    here. Browsers name a page's site in `Origin` when it wants to change something; and a site that has its own name point
    to this machine (DNS rebinding) gives itself away by the `Host` it asks for.

    A WebSocket's handshake is a GET that no preflight precedes and whose answer a page may read whatever CORS says, so it
    passes the check of a POST.
    """

    def __init__(self, origins: Collection[str], public_url: str) -> None:
        self._origins = frozenset(origins)
        self._public_host = public_url.partition("://")[2]

    def check(self, request: web.Request) -> None:
        """Raise PermissionDenied for a request that a page of another site has sent."""
        host = request.host
        if host != self._public_host and not _is_this_machine(host):
            raise PermissionDenied("this gateway is not known by that name; see gateway.public_url")
        origin = request.headers.get("Origin")
        if origin is None or self._origins & {origin, "*"}:
            return
        if request.method in _SAFE_METHODS and not is_websocket_handshake(request):
            return
        if origin.partition("://")[2] != host:
            raise PermissionDenied(
                "pages of other sites may not change anything here; see gateway.cors_origins"
            )


@lru_cache(maxsize=256)
def _is_this_machine(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
