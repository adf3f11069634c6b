"""Who is calling: a facade's policy says it once, before the handler; the handler and the log line read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from runtime.errors import PermissionDenied

if TYPE_CHECKING:
    from gateway.http.facade import RouteTable
    from gateway.http.route import Route


@dataclass(frozen=True)
class Principal:
    """Who a request comes from, and what they may do."""

    user: str
    scopes: frozenset[str] = frozenset()

    def require(self, scope: str) -> None:
        """Raise PermissionDenied unless the caller has the scope."""
        if scope not in self.scopes:
            raise PermissionDenied(f"this key does not have the scope {str(scope)!r}")


class PrincipalPolicy(Protocol):
    """How one facade tells who calls: by API keys, a cookie, a signed token."""

    def authenticate(self, request: web.Request, route: Route) -> Principal | None:
        """Return the caller of a route that has a scope, None where nobody needs to be known.

        Raises Unauthenticated, or PermissionDenied also for a page of another site (see `gateway.http.origin`).
        """
        ...


PRINCIPAL = web.RequestKey("principal", Principal)

_NOBODY = Principal("")


def principal(request: web.Request) -> Principal:
    """Return the caller; one without any rights on a route that is open to all."""
    found: Principal = request.get(PRINCIPAL, _NOBODY)
    return found


def principal_middleware(table: RouteTable) -> Middleware:
    """Make the middleware that lets a request through to a route when its facade's policy knows the caller."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = table.find(request)
        if found is not None:
            route, facade = found
            caller = facade.principals.authenticate(request, route)
            if caller is not None:
                request[PRINCIPAL] = caller
        return await handler(request)

    return authenticate
