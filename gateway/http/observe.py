"""What happens around every request: its ids, its span, its log line, its figures, and the headers every answer carries."""

from __future__ import annotations

import asyncio
import time
from functools import cache

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Histogram

from gateway.http.facade import RouteTable
from gateway.http.principal import principal
from gateway.http.route import EVENT_STREAM, Route
from runtime import context, errors, spans
from runtime.logs import get_logger
from runtime.metrics import LATENCY_BUCKETS

log = get_logger(__name__)

REQUESTS = Counter("yivideo_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "yivideo_http_request_seconds",
    "Seconds until a request was answered; event streams and WebSockets are left out.",
    ["method", "route"],
    buckets=LATENCY_BUCKETS,
)

REQUEST_ID_HEADER = "X-Request-Id"
TRACEPARENT_HEADER = "traceparent"
TRACESTATE_HEADER = "tracestate"

_REQUEST_ID = web.RequestKey("request_id", str)
"""The one place where a request gets its id. Log lines, error bodies and outgoing calls read it from `runtime.context`; the
header of the answer, which may be written outside that context, reads it here."""
_TRACE = web.RequestKey("trace", tuple[str, str])
"""The trace's place and state, for the headers of the answer."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_UPGRADED = 101
"""A WebSocket: like an event stream, it is no request whose length means anything."""

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
        offered = request.headers.get(TRACEPARENT_HEADER)
        state = context.accepted_tracestate(request.headers.get(TRACESTATE_HEADER), offered)
        started = time.perf_counter()
        status = errors.Cancelled.http_status
        content_type = ""
        request[_REQUEST_ID] = request_id
        with context.bound(request=request_id, trace=context.accepted_traceparent(offered), state=state):
            span = _begin_span(is_caller_traced=context.offered_traceparent(offered))
            request[_TRACE] = context.traceparent.get(), context.tracestate.get()
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
                seconds = time.perf_counter() - started
                timed = content_type != EVENT_STREAM and status != _UPGRADED
                found = table.find(request)
                route = found[0] if found else None
                _record(request, route, status, seconds, timed=timed)
                if span is not None and not (route and route.quiet):
                    _end_span(span, request, route, status)

    return observe


def _begin_span(*, is_caller_traced: bool) -> spans.Span | None:
    if not spans.is_on():
        return None
    begin = spans.begin if is_caller_traced else spans.begin_root
    span = begin("", spans.Kind.SERVER)
    if span is not None:
        context.traceparent.set(span.traceparent)  # the caller's `bound` resets it
    return span


def _end_span(span: spans.Span, request: web.Request, route: Route | None, status: int) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    span.name = f"{method} {route.path}" if route else method
    span.attributes["http.request.method"] = method
    span.attributes["http.response.status_code"] = status
    if route:
        span.attributes["http.route"] = route.path
    span.end(str(status) if status >= 500 else "")


@cache
def _answered(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, str(status))


@cache
def _seconds(method: str, route: str) -> Histogram:
    return SECONDS.labels(method, route)


def _record(request: web.Request, route: Route | None, status: int, seconds: float, *, timed: bool) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    path = route.path if route is not None else "unmatched"
    _answered(method, path, status).inc()
    if timed:
        _seconds(method, path).observe(seconds)
    line = log.debug if route is not None and route.quiet else log.info
    line(
        "request",
        method=method,
        route=path,
        path=request.rel_url.raw_path[:512],
        status=status,
        milliseconds=round(seconds * 1000, 2),
        user=principal(request).user,
        remote=request.remote,
    )


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers every answer carries; an `on_response_prepare` signal."""
    response.headers[REQUEST_ID_HEADER] = request.get(_REQUEST_ID, "")
    trace, state = request.get(_TRACE, ("", ""))
    if trace:
        response.headers[TRACEPARENT_HEADER] = trace
    if state:
        response.headers[TRACESTATE_HEADER] = state
    response.headers["Server"] = "yivideo"  # aiohttp has put its and Python's version here
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
