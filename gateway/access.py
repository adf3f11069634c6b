"""Who may call this installation: its API keys, as a principal policy that facades share."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from aiohttp import web

from gateway.http.cors import CorsPolicy
from gateway.http.observe import REQUEST_ID_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER
from gateway.http.origin import BrowserOriginPolicy
from gateway.http.principal import Principal, principal
from gateway.http.route import Route
from gateway.installation import KEY_STATE
from gateway.keys import KEY_PREFIX, MAX_KEY_LENGTH, key_sha256
from gateway.settings import ApiKey, GatewaySection, Scope
from gateway.use.viewer import Viewer
from runtime.errors import Unauthenticated
from yivideo.file.v1 import file_pb2

ANONYMOUS = "anonymous"

_EXPOSED_HEADERS = (
    "Location", "ETag", "Retry-After", REQUEST_ID_HEADER, "Preference-Applied", "Content-Range", "Content-Disposition",
    "Accept-Ranges", "Last-Modified", TRACEPARENT_HEADER,
)  # fmt: skip
_ACCEPTED_HEADERS = (
    "Content-Type", "X-API-Key", "Authorization", "Idempotency-Key", "Prefer", "If-None-Match", "If-Range", "Range",
    "Last-Event-ID", REQUEST_ID_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER,
)  # fmt: skip

_USED_KEY = web.RequestKey("used_key", ApiKey)

EVERYBODY = Principal(ANONYMOUS, frozenset(Scope))
"""The principal of an installation without keys."""


class Keyring:
    """The keys of this installation; with none of them everybody is let in."""

    def __init__(
        self, keys: Iterable[ApiKey], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._keys = tuple(keys)
        self._now = now

    def find(self, offered: str | None) -> ApiKey | None:
        """Return the key that was offered; None where there are no keys. Raises Unauthenticated: missing, unknown or expired."""
        if not self._keys:
            return None
        if not offered:
            raise Unauthenticated("an API key is needed: X-API-Key, or Authorization: Bearer yiv_...")
        digest = key_sha256(offered[: MAX_KEY_LENGTH + 1])
        found: ApiKey | None = None
        for key in self._keys:  # all of them, so that the time taken does not tell which one fits
            if hmac.compare_digest(key.key_sha256, digest):
                found = key
        if found is None or self._expired(found):
            raise Unauthenticated("the API key is not known or has expired")
        return found

    def _expired(self, key: ApiKey) -> bool:
        if key.expires_time is None:
            return False
        expires = key.expires_time
        return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) <= self._now()


def offered_key(request: web.Request) -> str | None:
    """Return the key that a request carries; another kind of bearer token is none."""
    if key := request.headers.get("X-API-Key"):
        return key
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    credential = credential.strip()
    return credential if scheme.lower() == "bearer" and credential.startswith(KEY_PREFIX) else None


class ApiKeyPolicy:
    """Lets a request through to a route when its key has the route's scope.

    Without keys everybody may do everything, so what a browser's page sends is judged by its origin instead.
    """

    def __init__(
        self, section: GatewaySection, offered: Callable[[web.Request], str | None] = offered_key
    ) -> None:
        self._keyring = Keyring(section.api_keys)
        self._origins = BrowserOriginPolicy(section.cors_origins, section.public_url)
        self._offered = offered

    def authenticate(self, request: web.Request, route: Route) -> Principal | None:
        """Return the caller; None on a route that is open.

        Raises Unauthenticated, PermissionDenied, ResourceExhausted for a key that is used too often.
        """
        if route.scope is None:
            return None
        key = self._keyring.find(self._offered(request))
        if key is None:
            self._origins.check(request)
            caller = EVERYBODY
        else:
            request.app[KEY_STATE].admit(key)
            request[_USED_KEY] = key
            caller = Principal(key.user, key.scopes)
        caller.require(route.scope)
        return caller


def used_key(request: web.Request) -> ApiKey | None:
    """Return the key that a request was let in by; None where there are none."""
    return request.get(_USED_KEY)


def cors_policy(section: GatewaySection) -> CorsPolicy:
    """Return what `gateway.cors_origins` allows. Keys travel in headers; there is no cookie to send along."""
    return CorsPolicy(
        origins=section.cors_origins, accepted_headers=_ACCEPTED_HEADERS, exposed_headers=_EXPOSED_HEADERS
    )


def file_caller(request: web.Request) -> file_pb2.Caller:
    """Return the caller of a request as far as files are concerned: one's own, or every file."""
    caller = principal(request)
    return file_pb2.Caller(user=caller.user, all_files=Scope.FILES_ALL in caller.scopes)


def viewer(request: web.Request) -> Viewer:
    """Return the caller of a request as far as tasks are concerned."""
    caller = principal(request)
    return Viewer(caller.user, Scope.OPERATIONS in caller.scopes)
