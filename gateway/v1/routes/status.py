"""/v1/status: the whole installation at a glance, for people and for machines."""

from __future__ import annotations

from aiohttp import web

from gateway.http.answer import answer
from gateway.http.application import DRAINING
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Content, Route
from gateway.installation import BACKEND
from gateway.settings import Scope
from gateway.use.parts import look
from gateway.v1.answers.status import InstallationStatus
from gateway.v1.status_page import PAGE_POLICY, status_page
from gateway.v1.status_presenter import installation_status


async def status(request: web.Request) -> web.StreamResponse:
    """Show the installation: parts, replicas, queues, capacity, the oldest wait, engines and models of each node, versions.

    It answers 200 within three seconds also when parts are down, and says which, with what error. A client whose Accept prefers
    `text/html` gets a page, any other JSON.
    """
    read_query(request, NoQuery)
    found = await look(request.app[BACKEND])
    shown = installation_status(found, draining=request.app[DRAINING].is_set())
    headers = {"Vary": "Accept"}
    if not prefers_html(request.headers.get("Accept", "")):
        return answer(shown, headers=headers)
    headers["Content-Security-Policy"] = PAGE_POLICY
    return web.Response(text=status_page(shown), content_type="text/html", headers=headers)


def prefers_html(accept: str) -> bool:
    """Whether an Accept header asks for HTML rather than JSON; what it does not rank is JSON."""
    weights = {"text/html": 0.0, "application/json": 0.0}
    for part in accept.split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if kind in weights:
            weights[kind] = max(weights[kind], weight)
    return weights["text/html"] > weights["application/json"]


_PAGE = Content("text/html", {"type": "string"})

ROUTES = (
    Route(method="GET", path="/v1/status", handler=status, tag="operations", scope=Scope.OPERATIONS,
          answers={200: (InstallationStatus, _PAGE)}, headers={"Accept": "`text/html` for a page."}),
)  # fmt: skip
