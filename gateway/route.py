"""A REST route: where it is, who may call it, what goes in and out. Dispatch, auth and OpenAPI read the same table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from gateway.settings import Scope

JSON = "application/json"


@dataclass(frozen=True)
class Content:
    """A body that is not JSON: its media type, and its schema when it has parts worth naming."""

    media_type: str
    schema: Mapping[str, object] = field(default_factory=lambda: {"type": "string", "format": "binary"})


Body = type[BaseModel] | Content | None
Bodies = Body | tuple[type[BaseModel] | Content, ...]
"""One body, or one for each media type that a client may ask for."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation. The handler's docstring is its description."""

    method: str
    path: str
    """aiohttp's template; `{name:.+}` matches slashes too."""
    handler: Handler
    tag: str
    scope: Scope | None
    """What a key needs; None: open without a key."""
    answers: Mapping[int, Bodies]
    """Body of each good answer by status."""
    body: Body = None
    body_optional: bool = False
    """Whether the body may be left out."""
    query: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that it reads, with what they do."""
    faults: tuple[int, ...] = ()
    """Error statuses of its own, beside those any route may answer."""


class RouteTable:
    """All routes of the application, and the way back from a dispatched request to its route."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_dispatched: dict[web.AbstractRoute, Route] = {}

    def install(self, app: web.Application) -> list[web.AbstractRoute]:
        """Add every route to the router; routes of one path share a resource, which CORS preflights need."""
        resources: dict[str, web.Resource] = {}
        for route in self.routes:
            resource = resources.get(route.path)
            if resource is None:
                resource = resources[route.path] = app.router.add_resource(route.path)
            self._by_dispatched[resource.add_route(route.method, route.handler)] = route
        return list(self._by_dispatched)

    def find(self, request: web.Request) -> Route | None:
        """Return the route that a request was dispatched to; None for an unknown path and for a CORS preflight."""
        return self._by_dispatched.get(request.match_info.route)

    def template(self, request: web.Request) -> str:
        """Return the path template, which is safe as a metric's label; `unmatched` when there is none."""
        route = self.find(request)
        return route.path if route is not None else "unmatched"
