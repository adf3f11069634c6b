"""The OpenAPI description of /v1, with the schemas that the nodes publish for their task types."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from pydantic import BaseModel

from gateway.http.errors import ErrorPolicy
from gateway.http.openapi import About, OpenApi
from gateway.http.route import Route
from gateway.settings import GatewaySection
from gateway.v1.requests import SubmitTask
from gateway.v1.task_schemas import TaskSchemas
from gateway.v1.webhooks import MODELS, webhooks
from runtime import VERSION
from yivideo.task.v1 import task_pb2

_KEYS = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer yiv_...`"},
}
_DESCRIPTION = """\
Runs AI media tasks. Submit one, watch it, fetch its result.

Errors are `application/problem+json` (RFC 9457) with a stable `code`. A task that failed is not an error of the request that
asks about it. Every answer carries `X-Request-Id`."""


class Document:
    """Writes the description; keeps the last one, which is good until the task types change."""

    def __init__(self, routes: Sequence[Route], errors: ErrorPolicy, section: GatewaySection) -> None:
        about = About(
            title="YiVideo",
            version=VERSION,
            description=_DESCRIPTION,
            public_url=section.public_url,
            security=_KEYS,
            open_without_keys=not section.api_keys,
            webhooks=webhooks(),
            models=MODELS,
        )
        self._openapi = OpenApi(routes, errors, about)
        self._made_of = b""
        self._made = (b"", "")

    def written(self, task_types: Iterable[task_pb2.TaskType]) -> tuple[bytes, str]:
        """Return the description as JSON, and its entity tag."""
        kinds = [_lasting(kind) for kind in sorted(task_types, key=lambda kind: kind.name)]
        digest = hashlib.sha256(b"".join(k.SerializeToString(deterministic=True) for k in kinds)).digest()
        if digest != self._made_of:
            body = self._write(kinds)
            self._made = (body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
            self._made_of = digest
        return self._made

    def _write(self, task_types: Sequence[task_pb2.TaskType]) -> bytes:
        of_tasks = TaskSchemas(task_types, self._openapi.schemas)
        submission = of_tasks.submission
        bodies: dict[type[BaseModel], dict[str, Any]] = (
            {SubmitTask: {"schema": submission, "examples": of_tasks.examples}}
            if submission is not None
            else {}
        )
        return orjson.dumps(self._openapi.build(of_tasks.components, bodies))


def _lasting(kind: task_pb2.TaskType) -> task_pb2.TaskType:
    """Return a task type without what changes by the second."""
    made = task_pb2.TaskType()
    made.CopyFrom(kind)
    made.ClearField("available")
    made.ClearField("last_seen_time")
    return made
