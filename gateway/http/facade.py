"""A facade: one product's REST surface with policies of its own; and the table that finds a request's facade and route.

What a facade brings with it holds for its routes only, as a starlette `Mount` carries its own middleware: how an error is
written, who a caller is, which pages of other origins may call, what lives as long as the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from gateway.http.cors import CorsPolicy
from gateway.http.errors import ErrorPolicy
from gateway.http.principal import PrincipalPolicy
from gateway.http.route import Route


@dataclass(frozen=True, kw_only=True)
class Facade:
    """One surface."""

    name: str
    routes: tuple[Route, ...]
    errors: ErrorPolicy
    """Writes every error of its routes, and of paths below `prefixes` that no route has."""
    principals: PrincipalPolicy
    """Says who calls one of its routes, or refuses."""
    prefixes: tuple[str, ...] = ()
    """Paths below which an unknown path is this facade's to refuse; `/` makes it the one for all others."""
    cors: CorsPolicy | None = None
    """None: pages of other origins may not read its answers."""
    lifespans: tuple[Callable[[web.Application], AsyncIterator[None]], ...] = field(default=())
    """What it keeps open while the server runs; each is an aiohttp `cleanup_ctx`."""


class RouteTable:
    """All routes of an application, and the way back from a dispatched request to its route and facade."""

    def __init__(self, facades: Iterable[Facade]) -> None:
        self.facades = tuple(facades)
        self._by_dispatched: dict[web.AbstractRoute, tuple[Route, Facade]] = {}
        by_prefix = [(prefix, facade) for facade in self.facades for prefix in facade.prefixes]
        self._by_prefix = sorted(by_prefix, key=lambda entry: len(entry[0]), reverse=True)

    def install(self, app: web.Application) -> list[tuple[web.AbstractRoute, Facade]]:
        """Add every route to the router; routes of one path share a resource, which CORS preflights need."""
        resources: dict[str, web.Resource] = {}
        for facade in self.facades:
            for route in facade.routes:
                resource = resources.get(route.path)
                if resource is None:
                    resource = resources[route.path] = app.router.add_resource(route.path)
                dispatched = resource.add_route(route.method, route.handler)
                self._by_dispatched[dispatched] = (route, facade)
        self._answer_heads(resources)
        return [(dispatched, facade) for dispatched, (_, facade) in self._by_dispatched.items()]

    def _answer_heads(self, resources: Mapping[str, web.Resource]) -> None:
        """Answer HEAD wherever GET is answered (RFC 9110 §9.1); the server leaves the body out. Routes of their own go before."""
        every = list(self._by_dispatched.values())
        has_head = {route.path for route, _ in every if route.method == "HEAD"}
        for route, facade in every:
            if route.method == "GET" and route.path not in has_head:
                dispatched = resources[route.path].add_route("HEAD", route.handler)
                self._by_dispatched[dispatched] = (route, facade)

    def find(self, request: web.Request) -> tuple[Route, Facade] | None:
        """Return what a request was dispatched to; None for an unknown path and for a CORS preflight."""
        return self._by_dispatched.get(request.match_info.route)

    def facade(self, request: web.Request) -> Facade:
        """Return the facade that answers for a request, also where no route does: the one with the longest prefix of its path."""
        found = self.find(request)
        if found is not None:
            return found[1]
        path = request.rel_url.raw_path
        for prefix, facade in self._by_prefix:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                return facade
        return self.facades[0]
