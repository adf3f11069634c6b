"""What happens around every request: its ids, its log line, its figures, and the headers every answer carries."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Gauge, Histogram

from gateway.auth import principal
from gateway.route import RouteTable
from runtime import context, errors
from runtime.logs import get_logger
from runtime.metrics import LATENCY_BUCKETS

log = get_logger(__name__)

REQUESTS = Counter("yivideo_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "yivideo_http_request_seconds",
    "Seconds until a request was answered; event streams are left out.",
    ["method", "route"],
    buckets=LATENCY_BUCKETS,
)
STREAMS = Gauge("yivideo_sse_connections", "Event streams that are open.")
FILE_BYTES = Counter("yivideo_http_file_bytes", "Bytes of files that passed through.", ["direction"])

REQUEST_ID_HEADER = "X-Request-Id"
TRACEPARENT_HEADER = "traceparent"
EVENT_STREAM = "text/event-stream"

_REQUEST_ID = web.RequestKey("request_id", str)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds; logged at debug."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Defaults; a handler that sets one of them itself keeps its own."""


def observe_middleware(table: RouteTable) -> Middleware:
    """Make the outermost middleware."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = context.accepted_request_id(request.headers.get(REQUEST_ID_HEADER))
        trace = context.accepted_traceparent(request.headers.get(TRACEPARENT_HEADER))
        started = time.perf_counter()
        status = errors.Cancelled.http_status
        content_type = ""
        request[_REQUEST_ID] = request_id
        with context.bound(request=request_id, trace=trace):
            try:
                response = await handler(request)
                status, content_type = response.status, response.content_type
                return response
            except web.HTTPException as redirect:
                status = redirect.status
                raise
            except (asyncio.CancelledError, ConnectionError):
                raise  # the client went away
            except BaseException:
                status = errors.Internal.http_status
                raise
            finally:
                _record(request, table.template(request), status, content_type, time.perf_counter() - started)

    return observe


@cache
def _answered(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, str(status))


@cache
def _seconds(method: str, route: str) -> Histogram:
    return SECONDS.labels(method, route)


def _record(request: web.Request, route: str, status: int, content_type: str, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    _answered(method, route, status).inc()
    if content_type != EVENT_STREAM:
        _seconds(method, route).observe(seconds)
    line = log.debug if route in _QUIET else log.info
    line(
        "request",
        method=method,
        route=route,
        path=request.rel_url.raw_path[:512],
        status=status,
        milliseconds=round(seconds * 1000, 2),
        user=principal(request).user,
        remote=request.remote,
    )


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers every answer carries; an `on_response_prepare` signal."""
    response.headers[REQUEST_ID_HEADER] = request.get(_REQUEST_ID, "")
    response.headers["Server"] = "yivideo"  # aiohttp has put its and Python's version here
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


def content_disposition(name: str) -> str:
    """Return an attachment header whose file name survives any alphabet (RFC 6266, RFC 8187)."""
    plain = "".join(c if " " <= c < "\x7f" and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
