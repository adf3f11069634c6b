"""The OpenAPI 3.1 description, made from the route table, the models, and the schemas that the nodes publish."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.problem import PROBLEM_JSON, Problem
from gateway.requests import SubmitTask
from gateway.route import JSON, Bodies, Content, Route
from gateway.task_schemas import TaskSchemas
from yivideo.task.v1 import task_pb2

REF = "#/components/schemas/{model}"

_PATH_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_NOT_IN_AN_ID = re.compile(r"\W+")
_PROBLEM = {"$ref": "#/components/responses/Problem"}
_KEYS = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer yiv_...`"},
}
_DESCRIPTION = """\
Runs AI media tasks. Submit one, watch it, fetch its result.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. A task that failed is not an error of the request that
asks about it. Every answer carries `X-Request-Id`."""


class OpenApi:
    """Writes the description; keeps the last one, which is good until the task types change."""

    def __init__(self, routes: Sequence[Route], *, keys_needed: bool, public_url: str, version: str) -> None:
        self._routes = tuple(routes)
        self._keys_needed = keys_needed
        self._public_url = public_url
        self._version = version
        self._schemas = _model_schemas(self._routes)
        self._made_of = b""
        self._made = (b"", "")

    def document(self, task_types: Iterable[task_pb2.TaskType]) -> tuple[bytes, str]:
        """Return the description as JSON, and its entity tag."""
        kinds = sorted(task_types, key=lambda kind: kind.name)
        digest = hashlib.sha256(b"".join(k.SerializeToString(deterministic=True) for k in kinds)).digest()
        if digest != self._made_of:
            body = orjson.dumps(self.build(kinds))
            self._made = (body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
            self._made_of = digest
        return self._made

    def build(self, task_types: Sequence[task_pb2.TaskType]) -> dict[str, Any]:
        """Return the description as plain values."""
        of_tasks = TaskSchemas(task_types, self._schemas)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "YiVideo",
                "version": self._version,
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": self._public_url or "/"}],
            "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in self._routes)],
            "paths": self._paths(of_tasks),
            "components": {
                "schemas": {**self._schemas, **of_tasks.components},
                "responses": {
                    "Problem": {
                        "description": "The request was refused, or failed; `code` says why.",
                        "content": {PROBLEM_JSON: {"schema": {"$ref": REF.format(model="Problem")}}},
                    }
                },
                "securitySchemes": _KEYS,
            },
        }

    def _paths(self, of_tasks: TaskSchemas) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for route, operation_id in zip(self._routes, _operation_ids(self._routes), strict=True):
            path = _PATH_PARAMETER.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = self._operation(route, operation_id, of_tasks)
        return paths

    def _operation(self, route: Route, operation_id: str, of_tasks: TaskSchemas) -> dict[str, Any]:
        text = inspect.getdoc(route.handler) or ""
        operation: dict[str, Any] = {
            "operationId": operation_id,
            "tags": [route.tag],
            "summary": text.partition("\n\n")[0].replace("\n", " "),
            "description": text,
            "responses": dict(_responses(route)),
        }
        if parameters := list(_parameters(route)):
            operation["parameters"] = parameters
        if route.body is SubmitTask and of_tasks.submission is not None:
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": of_tasks.submission}}}
        elif route.body is not None:
            operation["requestBody"] = {"required": not route.body_optional, "content": _content(route.body)}
        if route.scope is None:
            operation["security"] = []
        else:
            operation["security"] = [*({name: []} for name in _KEYS), *([] if self._keys_needed else [{}])]
            operation["description"] += f"\n\nNeeds the scope `{route.scope.value}`."
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


def _model_schemas(routes: Iterable[Route]) -> dict[str, Any]:
    wanted: dict[type[BaseModel], JsonSchemaMode] = {Problem: "serialization"}
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


def _responses(route: Route) -> Iterator[tuple[str, Any]]:
    for status in sorted(route.answers):
        yield str(status), _response(status, route.answers[status])
    refusals = {400, 500, 503, *route.faults, *((401, 403) if route.scope else ())}
    for status in sorted(refusals - set(route.answers)):
        yield str(status), _PROBLEM


def _response(status: int, bodies: Bodies) -> dict[str, Any]:
    words = {200: "Done.", 202: "Accepted; it goes on.", 204: "There is nothing more.", 206: "The range.",
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
    for name, field in schema.get("properties", {}).items():
        purpose = field.pop("description", "")
        required = name in schema.get("required", ())
        yield {"name": name, "in": "query", "description": purpose, "required": required, "schema": field}
