"""Who is calling: finds the principal of a request by its API key, and says whose tasks it may see."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from gateway.keys import KEY_PREFIX, MAX_KEY_LENGTH, key_sha256
from gateway.route import RouteTable
from gateway.settings import ApiKey, Scope
from runtime.errors import PermissionDenied, TaskNotFound, Unauthenticated
from yivideo.task.v1 import task_pb2

ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Principal:
    """Who a request comes from."""

    user: str
    scopes: frozenset[Scope]

    @property
    def sees_all_tasks(self) -> bool:
        """Whether tasks of other users exist for this principal."""
        return Scope.OPERATIONS in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise PermissionDenied unless the key has the scope."""
        if scope not in self.scopes:
            raise PermissionDenied(f"this key does not have the scope {scope.value!r}")

    def require_own(self, task: task_pb2.Task) -> None:
        """Raise TaskNotFound for another user's task: to this principal it does not exist."""
        if not self.sees_all_tasks and task.spec.user != self.user:
            raise TaskNotFound(f"no task {task.spec.task_id!r}")


EVERYBODY = Principal(ANONYMOUS, frozenset(Scope))
"""The principal of an installation without keys."""

_NOBODY = Principal("", frozenset())


class Keyring:
    """The keys of this installation; with none of them everybody is let in."""

    def __init__(
        self, keys: Iterable[ApiKey], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._keys = tuple(keys)
        self._now = now

    def principal(self, offered: str | None) -> Principal:
        """Return whose key this is; raises Unauthenticated when it is missing, unknown or expired."""
        if not self._keys:
            return EVERYBODY
        if not offered:
            raise Unauthenticated("an API key is needed: X-API-Key, or Authorization: Bearer yiv_...")
        digest = key_sha256(offered[: MAX_KEY_LENGTH + 1])
        found: ApiKey | None = None
        for key in self._keys:  # all of them, so that the time taken does not tell which one fits
            if hmac.compare_digest(key.key_sha256, digest):
                found = key
        if found is None or self._expired(found):
            raise Unauthenticated("the API key is not known or has expired")
        return Principal(found.user, found.scopes)

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


PRINCIPAL = web.RequestKey("principal", Principal)


def principal(request: web.Request) -> Principal:
    """Return the principal of a request; one without any rights on a route that is open to all."""
    found: Principal = request.get(PRINCIPAL, _NOBODY)
    return found


_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Neighbourhood:
    """Which browsers' pages may use a gateway without keys.

    Without keys every program on this machine may act, and a browser is one: any page that it shows could send requests
    here. Browsers name a page's site in `Origin` when it wants to change something; and a site that has its own name point
    to this machine (DNS rebinding) gives itself away by the `Host` it asks for.
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
        if origin is None or request.method in _SAFE_METHODS or self._origins & {origin, "*"}:
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


def auth_middleware(keyring: Keyring, table: RouteTable, neighbourhood: Neighbourhood) -> Middleware:
    """Make the middleware that lets a request through to a route when its key has the route's scope."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = table.find(request)
        if route is not None and route.scope is not None:
            caller = keyring.principal(offered_key(request))
            if caller is EVERYBODY:
                neighbourhood.check(request)
            caller.require(route.scope)
            request[PRINCIPAL] = caller
        return await handler(request)

    return authenticate
