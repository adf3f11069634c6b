"""Writes the OpenAPI 3.1 description of a facade from its routes and their models."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.http.answer import tagged
from gateway.http.errors import ErrorPolicy
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import JSON, Bodies, Content, Route

REF = "#/components/schemas/{model}"

_PATH_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_NOT_IN_AN_ID = re.compile(r"\W+")


@dataclass(frozen=True, kw_only=True)
class About:
    """What a description says of the whole facade."""

    title: str
    version: str
    description: str
    """CommonMark."""
    public_url: str = ""
    """Where the server is; empty: where the description came from."""
    security: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Security schemes by name; any one of them will do."""
    open_without_keys: bool = False
    """Whether this installation asks nobody for a key."""
    webhooks: Mapping[str, Any] = field(default_factory=dict)
    """Requests that are made to clients: a Path Item Object by name."""
    models: tuple[type[BaseModel], ...] = ()
    """Models that no route names and `webhooks` refers to."""


class OpenApi:
    """Writes the description of some routes whose errors are written by one policy."""

    def __init__(self, routes: Sequence[Route], errors: ErrorPolicy, about: About) -> None:
        self._routes = tuple(routes)
        self._errors = errors
        self._about = about
        self._error = errors.model.__name__
        self.schemas = _model_schemas(self._routes, errors.model, about.models)
        """JSON Schema of every model that a route or a webhook names, by the model's name."""

    def build(
        self,
        components: Mapping[str, Any] | None = None,
        bodies: Mapping[type[BaseModel], Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Return the description as plain values, with further component schemas and other media types of bodies."""
        about = self._about
        return {
            "openapi": "3.1.0",
            "info": {
                "title": about.title,
                "version": about.version,
                "description": about.description,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": about.public_url or "/"}],
            "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in self._routes)],
            "paths": self._paths(bodies or {}),
            **({"webhooks": dict(about.webhooks)} if about.webhooks else {}),
            "components": {
                "schemas": {**self.schemas, **(components or {})},
                "responses": {
                    self._error: {
                        "description": "The request was refused, or failed; `code` says why.",
                        "content": {
                            self._errors.media_type: {"schema": {"$ref": REF.format(model=self._error)}}
                        },
                    }
                },
                "securitySchemes": {name: dict(scheme) for name, scheme in about.security.items()},
            },
        }

    def _paths(self, bodies: Mapping[type[BaseModel], Mapping[str, Any]]) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for route, operation_id in zip(self._routes, _operation_ids(self._routes), strict=True):
            path = _PATH_PARAMETER.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = self._operation(route, operation_id, bodies)
        return paths

    def _operation(
        self, route: Route, operation_id: str, bodies: Mapping[type[BaseModel], Mapping[str, Any]]
    ) -> dict[str, Any]:
        text = inspect.getdoc(route.handler) or ""
        operation: dict[str, Any] = {
            "operationId": operation_id,
            "tags": [route.tag],
            "summary": text.partition("\n\n")[0].replace("\n", " "),
            "description": text,
            "responses": dict(_responses(route, self._error)),
        }
        if parameters := list(_parameters(route)):
            operation["parameters"] = parameters
        if isinstance(route.body, type) and route.body in bodies:
            content = {JSON: bodies[route.body]}
            operation["requestBody"] = {"required": not route.body_optional, "content": content}
        elif route.body is not None:
            operation["requestBody"] = {"required": not route.body_optional, "content": _content(route.body)}
        if route.scope is None:
            operation["security"] = []
        else:
            keys: list[dict[str, list[str]]] = [{name: []} for name in self._about.security]
            operation["security"] = [*keys, *([{}] if self._about.open_without_keys else [])]
            operation["description"] += f"\n\nNeeds the scope `{route.scope}`."
        return operation


def _operation_ids(routes: Sequence[Route]) -> Iterator[str]:
    """Name each route by its handler; those that share one, by what their paths have that others have not."""
    uses = Counter(route.handler.__name__ for route in routes)
    longer = [
        "_".join([route.handler.__name__, *(_PATH_PARAMETER.findall(route.path) or [route.method.lower()])])
        for route in routes
    ]
    again = Counter(longer)
    for route, name in zip(routes, longer, strict=True):
        if uses[route.handler.__name__] == 1:
            yield route.handler.__name__
        elif again[name] == 1:
            yield name
        else:
            yield f"{name}_{_NOT_IN_AN_ID.sub('_', route.path).strip('_')}"


def _model_schemas(
    routes: Iterable[Route], error: type[BaseModel], further: Iterable[type[BaseModel]]
) -> dict[str, Any]:
    wanted: dict[type[BaseModel], JsonSchemaMode] = {error: "serialization"}
    wanted.update(dict.fromkeys(further, "serialization"))
    for route in routes:
        if isinstance(route.body, type):
            wanted[route.body] = "validation"
        for bodies in route.answers.values():
            wanted.update({kind: "serialization" for kind in _each(bodies) if isinstance(kind, type)})
    _, made = models_json_schema(list(wanted.items()), ref_template=REF)
    schemas: dict[str, Any] = made["$defs"]
    return schemas


def _each(bodies: Bodies) -> tuple[type[BaseModel] | Content, ...]:
    if bodies is None:
        return ()
    return bodies if isinstance(bodies, tuple) else (bodies,)


def _content(body: type[BaseModel] | Content) -> dict[str, Any]:
    if isinstance(body, Content):
        return {body.media_type: {"schema": dict(body.schema)}}
    return {JSON: {"schema": {"$ref": REF.format(model=body.__name__)}}}


def _responses(route: Route, error: str) -> Iterator[tuple[str, Any]]:
    for status in sorted(route.answers):
        yield str(status), _response(status, route.answers[status])
    refusals = {
        400,
        500,
        503,
        *((408,) if route.body is not None else ()),
        *route.faults,
        *((401, 403) if route.scope else ()),
    }
    for status in sorted(refusals - set(route.answers)):
        yield str(status), {"$ref": f"#/components/responses/{error}"}


def _response(status: int, bodies: Bodies) -> dict[str, Any]:
    words = {101: "A WebSocket.", 200: "Done.", 201: "Made.",
             202: "Accepted; it goes on.", 204: "There is nothing more.", 206: "The range.",
             304: "What you have is current.", 307: "The bytes are at the Location.",
             503: "A part is missing."}  # fmt: skip
    made: dict[str, Any] = {"description": words[status]}
    if bodies is not None:
        made["content"] = {kind: what for body in _each(bodies) for kind, what in _content(body).items()}
    return made


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PATH_PARAMETER.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, purpose in route.headers.items():
        yield {"name": name, "in": "header", "description": purpose, "schema": {"type": "string"}}
    if route.query is None:
        return
    schema = route.query.model_json_schema()
    for name, shape in schema.get("properties", {}).items():
        purpose = shape.pop("description", "")
        required = name in schema.get("required", ())
        yield {"name": name, "in": "query", "description": purpose, "required": required, "schema": shape}


def description_route(
    path: str, tag: str, about: About, errors: ErrorPolicy, routes: Sequence[Route]
) -> Route:
    """Return the route that serves the description of the other routes and of itself, for a facade whose routes say all."""
    made: list[bytes] = []

    async def openapi(request: web.Request) -> web.StreamResponse:
        """Describe this API (OpenAPI 3.1)."""
        read_query(request, NoQuery)
        if not made:
            made.append(orjson.dumps(OpenApi((*routes, route), errors, about).build()))
        return tagged(request, web.Response(body=made[0], content_type=JSON))

    document = Content(JSON, {"type": "object"})
    route = Route(
        method="GET", path=path, handler=openapi, tag=tag, scope=None, answers={200: document, 304: None}
    )
    return route
