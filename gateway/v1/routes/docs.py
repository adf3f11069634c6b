"""/openapi.json and /docs: the description of this API, and a page that shows it without fetching anything from elsewhere."""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path

from aiohttp import web

from gateway.http.conditions import matches
from gateway.http.route import JSON, Content, Route
from gateway.v1.document import Document
from gateway.v1.routes.task_types import task_types
from runtime.errors import YiVideoError
from runtime.logs import get_logger

log = get_logger(__name__)

DOCUMENT = web.AppKey("document", Document)

_STATIC = Path(str(package_files("gateway.v1") / "static"))
_FILES = {
    "docs.js": _STATIC / "docs.js",
    "swagger-ui.css": _STATIC / "swagger" / "swagger-ui.css",
    "swagger-ui-bundle.js": _STATIC / "swagger" / "swagger-ui-bundle.js",
    "favicon-32x32.png": _STATIC / "swagger" / "favicon-32x32.png",
}

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def openapi(request: web.Request) -> web.StreamResponse:
    """Describe this API (OpenAPI 3.1), with the fields of every task type while the scheduler can be asked for them."""
    try:
        kinds = await task_types(request)
    except YiVideoError as error:
        log.warning("openapi without task types", reason=error.message)
        kinds = []
    body, etag = request.app[DOCUMENT].written(kinds)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request.headers.get("If-None-Match", ""), etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=JSON, headers=headers)


async def page(_: web.Request) -> web.StreamResponse:
    """Show the API's documentation in a browser."""
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    return web.FileResponse(_STATIC / "docs.html", headers=headers)


async def page_file(request: web.Request) -> web.StreamResponse:
    """Serve what the documentation page is made of."""
    path = _FILES.get(request.match_info["name"])
    if path is None:
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Cache-Control": "public, max-age=3600"})


_PAGE = Content("text/html", {"type": "string"})

ROUTES = (
    Route(method="GET", path="/openapi.json", handler=openapi, tag="documentation", scope=None,
          answers={200: Content(JSON, {"type": "object"}), 304: None}),
    Route(method="GET", path="/docs", handler=page, tag="documentation", scope=None, answers={200: _PAGE}),
    Route(method="GET", path="/docs/{name}", handler=page_file, tag="documentation", scope=None,
          answers={200: Content("application/octet-stream")}, faults=(404,)),
)  # fmt: skip
