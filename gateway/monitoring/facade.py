"""The monitoring facade: its routes and its policies."""

from __future__ import annotations

from gateway.access import ApiKeyPolicy, cors_policy
from gateway.http.facade import Facade
from gateway.http.openapi import About, description_route
from gateway.http.problem import ProblemErrors
from gateway.monitoring.routes import heartbeats, lock_events, locks, watcher
from gateway.settings import GatewaySettings
from runtime import VERSION

ROUTES = (*locks.ROUTES, *lock_events.ROUTES, *watcher.ROUTES, *heartbeats.ROUTES)

_DESCRIPTION = """\
Who holds GPUs, who waits for them, and the watcher that takes them from holders that hang. Errors are
`application/problem+json` (RFC 9457) with a stable `code`."""


def facade(settings: GatewaySettings) -> Facade:
    """Return the facade."""
    section = settings.gateway
    errors = ProblemErrors()
    about = About(
        title="YiVideo monitoring",
        version=VERSION,
        description=_DESCRIPTION,
        public_url=section.public_url,
        security={
            "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "Bearer": {"type": "http", "scheme": "bearer"},
        },
        open_without_keys=not section.api_keys,
    )
    described = description_route("/v1/monitoring/openapi.json", "monitoring", about, errors, ROUTES)
    return Facade(
        name="monitoring",
        routes=(*ROUTES, described),
        prefixes=("/v1/monitoring", "/api/v1/monitoring"),
        errors=errors,
        principals=ApiKeyPolicy(section),
        cors=cors_policy(section),
    )
