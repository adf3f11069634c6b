"""What the routes of every facade find in their application: one typed key each."""

from __future__ import annotations

from aiohttp import web

from gateway.clients.backend import Backend
from gateway.key_state import KeyState
from gateway.settings import GatewaySection
from gateway.use.batch import BatchPlaces
from gateway.use.slots import StreamSlots
from gateway.use.tasks import Tasks
from gateway.use.workflows import Workflows

SETTINGS = web.AppKey("settings", GatewaySection)
BACKEND = web.AppKey("backend", Backend)
TASKS = web.AppKey("tasks", Tasks)
WORKFLOWS = web.AppKey("workflows", Workflows)
KEY_STATE = web.AppKey("key_state", KeyState)
BATCHES = web.AppKey("batches", BatchPlaces)
SLOTS = web.AppKey("slots", StreamSlots)


def base_url(request: web.Request) -> str:
    """Return the address that links begin with: the configured one, else the one this client used."""
    return request.app[SETTINGS].public_url or str(request.url.origin())
