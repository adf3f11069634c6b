"""The facade of OpenAI's audio endpoints: its routes and its policies."""

from __future__ import annotations

from aiohttp import web

from gateway.access import ApiKeyPolicy, cors_policy
from gateway.http.facade import Facade
from gateway.http.openapi import About, description_route
from gateway.openai import model_list, speech, transcriptions
from gateway.openai.errors import OpenAiErrors
from gateway.openai.one_task import removals
from gateway.settings import GatewaySettings
from runtime import VERSION

ROUTES = (*transcriptions.ROUTES, *speech.ROUTES, *model_list.ROUTES)

_DESCRIPTION = """\
OpenAI's audio endpoints over this installation's nodes: point a client's base URL at `/v1`. Errors have OpenAI's body."""


def bearer(request: web.Request) -> str | None:
    """Return the credential of `Authorization: Bearer`, whatever it looks like: clients of this facade have no other place."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def facade(settings: GatewaySettings) -> Facade:
    """Return the facade. Without keys in the settings any credential is let in, as on /v1."""
    section = settings.gateway
    errors = OpenAiErrors()
    about = About(
        title="YiVideo, OpenAI's audio endpoints",
        version=VERSION,
        description=_DESCRIPTION,
        public_url=section.public_url,
        security={"Bearer": {"type": "http", "scheme": "bearer"}},
        open_without_keys=not section.api_keys,
    )
    described = description_route("/v1/audio/openapi.json", "audio", about, errors, ROUTES)
    return Facade(
        name="openai",
        routes=(*ROUTES, described),
        prefixes=("/v1/audio", "/v1/models"),
        errors=errors,
        principals=ApiKeyPolicy(section, bearer),
        cors=cors_policy(section),
        lifespans=(removals,),
    )
