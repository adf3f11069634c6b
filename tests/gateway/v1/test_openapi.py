"""The description of the API: valid OpenAPI 3.1, complete, true; and its page, which needs nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs
import pytest
from pydantic import BaseModel, ConfigDict, Field

from gateway import v1
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.routes import ROUTES
from tests.gateway.task_kinds import EXTRACT_AUDIO
from yivideo.task.v1 import task_pb2 as pb

STATIC = Path(v1.__file__).parent / "static"


class Node(BaseModel):
    """One object of the OpenAPI 3.1 specification; a field it does not know is a fault."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Example(Node):
    summary: str
    value: dict[str, Any]


class MediaType(Node):
    """Media Type Object."""

    schema_: dict[str, Any] = Field(alias="schema")
    examples: dict[str, Example] = {}


class Parameter(Node):
    """Parameter Object."""

    name: str
    where: Literal["path", "query", "header"] = Field(alias="in")
    schema_: dict[str, Any] = Field(alias="schema")
    required: bool = False
    description: str = ""


class RequestBody(Node):
    """Request Body Object."""

    content: dict[str, MediaType]
    required: bool = False


class Response(Node):
    """Response Object, or a reference to one."""

    description: str = ""
    content: dict[str, MediaType] = {}
    ref: str = Field("", alias="$ref")


class Operation(Node):
    """Operation Object."""

    operation_id: str = Field(alias="operationId")
    tags: list[str]
    summary: str = Field(min_length=5)
    description: str
    responses: dict[str, Response] = Field(min_length=1)
    parameters: list[Parameter] = []
    request_body: RequestBody | None = Field(None, alias="requestBody")
    security: list[dict[str, list[str]]]


class Components(Node):
    """Components Object."""

    schemas: dict[str, dict[str, Any]]
    responses: dict[str, Response]
    security_schemes: dict[str, dict[str, str]] = Field(alias="securitySchemes")


class Info(Node):
    """Info Object."""

    title: str
    version: str
    description: str
    license: dict[str, str]


class Document(Node):
    """OpenAPI Object."""

    openapi: Literal["3.1.0"]
    info: Info
    servers: list[dict[str, str]]
    tags: list[dict[str, str]]
    paths: dict[str, dict[Literal["get", "put", "post", "delete", "head", "patch"], Operation]]
    webhooks: dict[str, dict[Literal["post"], Operation]]
    components: Components

    def operations(self) -> Iterator[tuple[str, str, Operation]]:
        """Yield path, method and operation."""
        for path, item in self.paths.items():
            for method, operation in item.items():
                yield path, method, operation


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def fetch(harness: Harness) -> dict[str, Any]:
    """Return the description."""
    async with harness.http.get("/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        document: dict[str, Any] = await response.json()
        return document


async def test_the_description_is_valid(harness: Harness) -> None:
    """It has the specification's structure, every reference leads somewhere, every schema is a JSON Schema 2020-12."""
    raw = await fetch(harness)
    document = Document.model_validate(raw)
    for reference in set(references(raw)):
        place: Any = raw
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]
    for name, schema in document.components.schemas.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
    ids = [operation.operation_id for _, _, operation in document.operations()]
    assert len(ids) == len(set(ids))
    for path, _, operation in document.operations():
        declared = {parameter.name for parameter in operation.parameters if parameter.where == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path))
        pairs = [(parameter.where, parameter.name) for parameter in operation.parameters]
        assert len(pairs) == len(set(pairs))


async def test_every_route_is_in_it(harness: Harness) -> None:
    """Each route that is dispatched is described, with its errors, and nothing else is."""
    document = Document.model_validate(await fetch(harness))
    described = {(method.upper(), path) for path, method, _ in document.operations()}
    assert described == {(route.method, re.sub(r":[^{}]*\}", "}", route.path)) for route in ROUTES}
    for _, _, operation in document.operations():
        assert {"400", "500"} <= set(operation.responses)
        assert all(word not in operation.description for word in ("TODO", "FIXME"))


async def test_every_task_types_fields_are_in_it(harness: Harness) -> None:
    """A submission is told apart by task_name; a validator made of the description accepts good input and refuses bad."""
    raw = await fetch(harness)
    body = raw["paths"]["/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["discriminator"]["mapping"]) == {"ffmpeg.extract_audio", "indextts.list_voice_presets"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **body,
        "components": raw["components"],
    }
    validator = jsonschema_rs.validator_for(schema)
    good = {
        "task_name": "ffmpeg.extract_audio",
        "input_data": {"video_path": "a", "cut": {"next": {"next": {}}}},
    }
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "input_data": {}})
    assert not validator.is_valid({**good, "input_data": {"video_path": "a", "cut": {"next": 1}}})
    assert not validator.is_valid({**good, "task_name": "no.such"})
    assert not validator.is_valid({**good, "surprise": 1})
    outputs = raw["components"]["schemas"]["TaskResult"]["properties"]["output"]["anyOf"]
    assert {"$ref": "#/components/schemas/ffmpeg.extract_audio.output"} in outputs


async def test_answers_are_as_described(harness: Harness) -> None:
    """What the gateway answers fits the schemas that it publishes."""
    raw = await fetch(harness)
    await harness.submit("t1", callback="https://example.com/h")
    await harness.scheduler.complete("t1")
    harness.filestore.put("t1/a.wav", b"abc")
    harness.locks.hold("t1:1", task_id="t1")
    for path, template in (
        ("/v1/tasks", "/v1/tasks"), ("/v1/tasks/t1", "/v1/tasks/{task_id}"),
        ("/v1/tasks/t1/status", "/v1/tasks/{task_id}/status"), ("/v1/tasks/t1/deliveries", "/v1/tasks/{task_id}/deliveries"),
        ("/v1/task-types", "/v1/task-types"), ("/v1/tasks/supported-tasks", "/v1/tasks/supported-tasks"),
        ("/v1/queues", "/v1/queues"), ("/v1/dead-letters", "/v1/dead-letters"), ("/v1/files/list", "/v1/files/list"),
        ("/v1/files/url/t1/a.wav", "/v1/files/url/{path}"), ("/v1/files/health", "/v1/files/health"),
        ("/readyz", "/readyz"), ("/v1/tasks/none", None),
        *((f"/v1/monitoring/{path}", f"/v1/monitoring/{path}") for path in (
            "gpu-lock/status", "gpu-lock/health", "gpu-lock/devices", "gpu-lock/waiters", "gpu-lock/history",
            "gpu-lock/config", "monitor/status", "monitor/health", "timeout/status", "timeout/config",
            "heartbeat/all", "statistics", "health",
        )),
        ("/v1/monitoring/heartbeat/task/t1", "/v1/monitoring/heartbeat/task/{task_id}"),
    ):  # fmt: skip
        async with harness.http.get(path) as response:
            answer = await response.json()
        if template is None:
            described = raw["components"]["responses"]["Problem"]["content"]["application/problem+json"]
        else:
            described = raw["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]
        schema = {**described["schema"], "components": raw["components"]}
        jsonschema_rs.validator_for(schema).validate(answer)


async def test_it_is_cached_until_the_task_types_change(harness: Harness) -> None:
    """Its ETag answers 304; a new task type makes a new description; without a scheduler there still is one."""
    async with harness.http.get("/openapi.json") as response:
        etag = response.headers["ETag"]
    async with harness.http.get("/openapi.json", headers={"If-None-Match": etag}) as response:
        assert response.status == 304
    harness.scheduler.types = [
        EXTRACT_AUDIO,
        pb.TaskType(name="x.y", node="x", input_schema="[]", output_schema="{}"),
    ]
    async with harness.http.get("/openapi.json", headers={"If-None-Match": etag}) as response:
        assert response.status == 200
        assert "x.y.submit" in (await response.json())["components"]["schemas"]
    harness.scheduler.types = []
    raw = await fetch(harness)
    body = raw["paths"]["/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/SubmitTask"}


async def test_keys_are_described_as_needed(start_harness: StartHarness) -> None:
    """Without keys a call may go without one; open routes never need one."""
    async with start_harness() as harness:
        document = Document.model_validate(await fetch(harness))
    for _, _, operation in document.operations():
        assert {} in operation.security or operation.security == []


async def test_the_page_needs_nothing_from_elsewhere(harness: Harness) -> None:
    """Everything the page loads is served here, under a policy that allows nothing else and no inline script."""
    async with harness.http.get("/docs") as response:
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert response.content_type == "text/html"
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert "//" not in page.replace("<!doctype", "")
    assert re.findall(r"<script(?![^>]*src=)|\son\w+=|<style| style=", page) == []
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    for path in loaded:
        async with harness.http.get(path) as response:
            assert response.status == 200, path
            content = await response.read()
        if path.endswith(".css"):
            assert b"@import" not in content
            assert set(re.findall(rb"""url\(\s*['"]?(.{5})""", content)) <= {b"data:"}
    start = (STATIC / "docs.js").read_text()
    assert "validatorUrl: null" in start, "or it would ask a server elsewhere"
    assert not re.search(r"https?:", start)


@pytest.mark.parametrize(
    "name", ["../settings.py", "..%2fsettings.py", "LICENSE", "swagger", "%2e%2e/app.py", ""]
)
async def test_only_the_pages_own_files_are_served(harness: Harness, name: str) -> None:
    """No name leads out of the page's files."""
    async with harness.http.get(f"/docs/{name}") as response:
        assert response.status == 404


def test_the_vendored_page_keeps_its_licence() -> None:
    """Swagger UI is Apache-2.0: its licence and notice lie beside it."""
    folder = STATIC / "swagger"
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert (folder / "NOTICE").read_text().strip()
    assert not [path for path in folder.iterdir() if path.suffix == ".map"]


@pytest.mark.trial("10.12")
async def test_the_examples_of_the_nodes_are_offered(harness: Harness) -> None:
    """`/docs` offers each example of a task type's schema as a whole submission, under the type's name."""
    raw = await fetch(harness)
    shown = raw["paths"]["/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert shown == {
        EXTRACT_AUDIO.name: {
            "summary": EXTRACT_AUDIO.name,
            "value": {"task_name": EXTRACT_AUDIO.name, "input_data": {"video_path": "films/first.mp4"}},
        }
    }
