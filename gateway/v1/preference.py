"""`Prefer: wait=N` (RFC 7240): a client asks to be answered when the task, or the workflow, has ended, or after N seconds."""

from __future__ import annotations

import re

from aiohttp import web

from gateway.installation import SETTINGS
from gateway.use.tasks import Seen
from gateway.use.workflows import SeenWorkflow

APPLIED_HEADER = "Preference-Applied"

_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*', re.IGNORECASE)


def wished_wait_seconds(request: web.Request) -> int:
    """Return how long the client wants to wait, at most `max_wait_seconds`; 0 when it does not say, or says nonsense."""
    for line in request.headers.getall("Prefer", ()):
        for preference in line.split(","):
            if found := _WAIT.fullmatch(preference.partition(";")[0]):
                return min(int(found[1]), request.app[SETTINGS].max_wait_seconds)
    return 0


def applied(seen: Seen | SeenWorkflow, wished_seconds: int) -> dict[str, str]:
    """Return the headers that say whether the wish was granted."""
    return {APPLIED_HEADER: f"wait={wished_seconds}"} if seen.waited else {}
