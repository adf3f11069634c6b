"""What probes and operators ask: alive, ready, figures; and the origin's health of /v1/tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.clients.backend import GPULOCK
from gateway.http.answer import answer
from gateway.http.application import DRAINING
from gateway.http.body_stream import STALLED_SECONDS, whole
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Content, Route
from gateway.installation import BACKEND, SETTINGS
from gateway.settings import Scope
from gateway.v1.answers import operations as answers


async def alive(_: web.Request) -> web.StreamResponse:
    """Say that this process answers; asks no other part."""
    return answer(answers.Alive(status="alive"))


async def _parts(request: web.Request) -> dict[str, str]:
    backend = request.app[BACKEND]
    services = list(backend.health)
    found = await asyncio.gather(*(backend.serving(service) for service in services))
    return {
        service: "healthy" if serving else "unhealthy"
        for service, serving in zip(services, found, strict=True)
    }


_NOT_NEEDED = frozenset({GPULOCK})
"""Tasks without a GPU run while the lock service is away, and those with one wait in their queue."""


def _good(parts: Mapping[str, str]) -> bool:
    return all(state == "healthy" for service, state in parts.items() if service not in _NOT_NEEDED)


async def ready(request: web.Request) -> web.StreamResponse:
    """Say whether requests can be served; 503 names the part that cannot be reached.

    The lock service is named too, but tasks can be taken while it is away.
    """
    parts = await _parts(request)
    parts["gateway"] = "draining" if request.app[DRAINING].is_set() else "healthy"
    good = _good(parts)
    shown = answers.Ready(status="ready" if good else "not_ready", parts=parts)
    return answer(shown, status=200 if good else 503)


async def tasks_health(request: web.Request) -> web.StreamResponse:
    """Say whether tasks can be run, in the origin's words; 503 when not."""
    read_query(request, NoQuery)
    parts = await _parts(request)
    good = _good(parts)
    shown = answers.TasksHealth(
        status="healthy" if good else "unhealthy",
        service="yivideo-gateway",
        celery_broker=parts["scheduler"],
        minio_service=parts["filestore"],
        scheduler=parts["scheduler"],
        filestore=parts["filestore"],
    )
    return answer(shown, status=200 if good else 503)


async def metrics(request: web.Request) -> web.StreamResponse:
    """Show this process's figures in Prometheus's text format; 404 unless the settings serve them here."""
    if not request.app[SETTINGS].serve_metrics:
        raise web.HTTPNotFound
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def targets(request: web.Request) -> web.StreamResponse:
    """List where the parts of this installation show their figures, for Prometheus' HTTP discovery; 404 unless there is a list."""
    path = request.app[SETTINGS].metrics_targets
    try:
        body = await asyncio.to_thread(path.read_bytes) if path else None
    except FileNotFoundError:
        body = None
    if body is None:
        raise web.HTTPNotFound
    return web.Response(body=body, content_type="application/json")


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with what was sent: a sink for trying out callbacks. 404 unless the settings offer it."""
    if not request.app[SETTINGS].echo:
        raise web.HTTPNotFound
    body = (await whole(request, request.client_max_size, request.app[STALLED_SECONDS])).decode(
        errors="replace"
    )
    shown = answers.Echo(
        method=request.method,
        query=dict(request.query),
        headers={
            name.lower(): value for name, value in request.headers.items() if name.lower() not in _HIDDEN
        },
        body=body,
    )
    return answer(shown)


_HIDDEN = frozenset({"authorization", "x-api-key", "cookie"})
_TEXT = Content("text/plain", {"type": "string"})
_TARGETS = Content(
    "application/json",
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["targets", "labels"],
            "properties": {
                "targets": {"type": "array", "items": {"type": "string", "description": "host:port"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
    },
)

ROUTES = (
    Route(method="GET", path="/v1/tasks/health", handler=tasks_health, tag="health", scope=Scope.TASKS,
          answers={200: answers.TasksHealth, 503: answers.TasksHealth}),
    Route(method="GET", path="/healthz", handler=alive, tag="health", scope=None, quiet=True, answers={200: answers.Alive}),
    Route(method="GET", path="/readyz", handler=ready, tag="health", scope=None, quiet=True,
          answers={200: answers.Ready, 503: answers.Ready}),
    Route(method="GET", path="/metrics", handler=metrics, tag="health", scope=None, quiet=True, answers={200: _TEXT},
          faults=(404,)),
    Route(method="GET", path="/metrics/targets", handler=targets, tag="health", scope=Scope.OPERATIONS, quiet=True,
          answers={200: _TARGETS}, faults=(404,)),
    Route(method="GET", path="/test", handler=echo, tag="health", scope=None, answers={200: answers.Echo},
          faults=(404,)),
    Route(method="POST", path="/test", handler=echo, tag="health", scope=None, answers={200: answers.Echo},
          faults=(404, 413)),
)  # fmt: skip
