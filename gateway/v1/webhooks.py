"""The requests that this installation makes to its clients' addresses, as OpenAPI `webhooks`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from gateway.http.openapi import REF
from gateway.http.route import JSON
from gateway.v1.answers.callbacks import CallbackBody, PingEvent, WorkflowCallbackBody

_HEADERS = {
    "webhook-id": "The same for every delivery of one callback: by it a receiver knows a repetition.",
    "webhook-timestamp": "Unix seconds of this delivery.",
    "webhook-signature": (
        "Standard Webhooks: `v1,` and the base64 HMAC-SHA256 of `<id>.<timestamp>.<body>`, one for each secret, spaces between; "
        "missing where the installation has no `scheduler.callbacks.secrets`."
    ),
}
_BODIES: dict[str, tuple[type[BaseModel], str]] = {
    "taskEnded": (
        CallbackBody,
        "A task with a `callback` has ended. Answer 2xx to take it, 410 to get no more; anything else is repeated by a schedule.",
    ),
    "workflowEnded": (
        WorkflowCallbackBody,
        "A workflow with a `callback` has ended, all of its tasks. Answer as to a task's. One that goes on and ends again "
        "is told again, under another `webhook-id`.",
    ),
    "ping": (PingEvent, "Somebody tries this address with `POST /v1/webhooks/ping`. It is not repeated."),
}

MODELS = tuple(model for model, _ in _BODIES.values())
"""Models that the description names here and in no route."""


def webhooks() -> dict[str, Any]:
    """Return the Webhooks Object of the description."""
    return dict(_described())


def _described() -> Iterator[tuple[str, Any]]:
    for name, (model, text) in _BODIES.items():
        parameters = [
            {"name": header, "in": "header", "description": purpose, "schema": {"type": "string"}}
            for header, purpose in _HEADERS.items()
        ]
        operation = {
            "operationId": name,
            "tags": ["callbacks"],
            "summary": text.partition(".")[0],
            "description": text,
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {JSON: {"schema": {"$ref": REF.format(model=model.__name__)}}},
            },
            "responses": {
                "2XX": {"description": "Taken."},
                "410": {"description": "Send no more."},
                "default": {"description": "Not taken; the delivery is repeated."},
            },
            "security": [],
        }
        yield name, {"post": operation}
