"""The facade /v1: its routes and its policies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from gateway.access import ApiKeyPolicy, cors_policy
from gateway.http.facade import Facade
from gateway.http.problem import ProblemErrors
from gateway.http.route import Route
from gateway.settings import GatewaySettings
from gateway.v1.document import Document
from gateway.v1.routes import (
    batch,
    bulk,
    docs,
    ended_workflows,
    events,
    feed,
    files,
    health,
    history,
    keys,
    operations,
    parts,
    status,
    task_types,
    tasks,
    transfers,
    workflow_events,
    workflows,
)

ROUTES = (
    *health.ROUTES,
    *task_types.ROUTES,
    *tasks.ROUTES,
    *batch.ROUTES,
    *bulk.ROUTES,
    *events.ROUTES,
    *feed.ROUTES,
    *history.ROUTES,
    *workflows.ROUTES,
    *ended_workflows.ROUTES,
    *workflow_events.ROUTES,
    *operations.ROUTES,
    *status.ROUTES,
    *keys.ROUTES,
    *files.ROUTES,
    *parts.ROUTES,
    *transfers.ROUTES,
    *docs.ROUTES,
)


def facade(settings: GatewaySettings, *, described: Sequence[Route] = ()) -> Facade:
    """Return the facade; `described` are routes of others that /openapi.json and /docs show too."""
    section = settings.gateway
    errors = ProblemErrors()

    async def document(app: web.Application) -> AsyncIterator[None]:
        app[docs.DOCUMENT] = Document((*ROUTES, *described), errors, section)
        yield

    return Facade(
        name="v1",
        routes=ROUTES,
        prefixes=("/",),
        errors=errors,
        principals=ApiKeyPolicy(section),
        cors=cors_policy(section),
        lifespans=(document,),
    )
