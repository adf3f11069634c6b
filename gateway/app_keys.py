"""What handlers find in their application: one typed key each."""

from __future__ import annotations

import asyncio
from functools import cache

from aiohttp import web

from gateway.backend import Backend
from gateway.presenter import file_url
from gateway.settings import GatewaySection
from gateway.shared_watch import SharedWatches
from gateway.streams import StreamSlots
from results.node_result import FileUrl

SETTINGS = web.AppKey("settings", GatewaySection)
BACKEND = web.AppKey("backend", Backend)
WATCHES = web.AppKey("watches", SharedWatches)
SLOTS = web.AppKey("slots", StreamSlots)
DRAINING = web.AppKey("draining", asyncio.Event)


def base_url(request: web.Request) -> str:
    """Return the address that links begin with: the configured one, else the one this client used."""
    return request.app[SETTINGS].public_url or str(request.url.origin())


def links(request: web.Request) -> FileUrl:
    """Return what writes the download URLs of an answer to this request; most answers have none."""

    @cache
    def made() -> FileUrl:
        return file_url(base_url(request))

    def url(bucket: str, path: str) -> str:
        return made()(bucket, path)

    return url
