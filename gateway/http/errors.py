"""The middleware that turns whatever a handler raises into one answer, written by the facade that was asked."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel

from runtime import context, errors, rpc_errors
from runtime.logs import get_logger
from runtime.seldom import Seldom

if TYPE_CHECKING:
    from gateway.http.facade import RouteTable

log = get_logger(__name__)
seldom = Seldom(log)

UNDER_WAY = web.RequestKey("under_way", web.StreamResponse)
"""Request key that a handler sets once it has begun to send; an error after that can only break the connection."""

_RETRY_AFTER_SECONDS = {429: 1.0, 503: 2.0}
"""What a client is told to wait when the part that refused did not say."""

_OPERATIONAL = (errors.Unavailable, errors.NoFreeSlot, errors.DeadlineExceeded, errors.QuotaExceeded)
"""Nobody's fault in the code: a room that restarts, a store that is full."""

_KEPT_HEADERS = ("Allow", "Content-Range")


class ErrorPolicy(Protocol):
    """How one facade writes its errors."""

    @property
    def media_type(self) -> str:
        """Of the body."""
        ...

    @property
    def model(self) -> type[BaseModel]:
        """Of the body, for OpenAPI."""
        ...

    def from_known(self, request: web.BaseRequest, error: errors.YiVideoError) -> web.Response:
        """Write the answer for an error of our tree."""
        ...

    def from_http(self, request: web.BaseRequest, error: web.HTTPException) -> web.Response:
        """Write the answer for an error that aiohttp raised: unknown path, wrong method, body too large."""
        ...


def error_middleware(table: RouteTable) -> Middleware:
    """Make the middleware; an error in mid-answer breaks the connection."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            return table.facade(request).errors.from_http(request, error)
        except ConnectionError:
            raise
        except Exception as error:
            begun: web.StreamResponse | None = request.get(UNDER_WAY)
            if begun is not None:
                known = rpc_errors.from_exception(error)
                log.warning("answer broken off", code=known.code, reason=known.message)
                if request.transport is not None:
                    request.transport.abort()
                return begun
            return table.facade(request).errors.from_known(request, as_told(error))

    return answer_errors


def as_told(raised: Exception) -> errors.YiVideoError:
    """Return an error as a client is told it; what is no fault of the client's is logged."""
    known = rpc_errors.from_exception(raised)
    if known.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log_failure(known, raised)
    return presentable(known, raised)


def retry_after_seconds(error: errors.YiVideoError) -> float | None:
    """Return how long a client is told to wait before it asks again; None: it is not told to."""
    wait = error.retry_after_seconds
    return _RETRY_AFTER_SECONDS.get(error.http_status) if wait is None else wait


def standard_headers(error: errors.YiVideoError) -> dict[str, str]:
    """Return the headers that HTTP itself asks of such an answer (RFC 9110 §10.2.3, §11.6.1)."""
    headers = {}
    wait = retry_after_seconds(error)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="yivideo"'
    return headers


def kept_headers(error: web.HTTPException) -> dict[str, str]:
    """Return the headers of an error that aiohttp raised which an answer in another body keeps."""
    return {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}


def status_text(status: int) -> str:
    """Return an HTTP status in words."""
    if status == errors.Cancelled.http_status:
        return "Client Closed Request"
    return HTTPStatus(status).phrase


def detail_of(error: web.HTTPException) -> str:
    """Say in a sentence what an error that aiohttp raised means."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{error.method} is not offered here; allowed: {', '.join(sorted(error.allowed_methods))}"
    if error.status == HTTPStatus.NOT_FOUND:
        return "there is nothing at this path; /docs lists what there is"
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return "the body is larger than this installation accepts"
    return status_text(error.status)


def _log_failure(known: errors.YiVideoError, raised: Exception) -> None:
    """Log a fault of ours with its trace; what operations bring with them, a room that restarts, with one line."""
    if isinstance(known, _OPERATIONAL):
        seldom.warning("request not served", code=known.code, reason=known.message)
    else:
        log.error("request failed", code=known.code, reason=known.message, exc_info=raised)


def presentable(known: errors.YiVideoError, raised: Exception) -> errors.YiVideoError:
    """Keep to ourselves what a peer says about its own faults: addresses, paths, stack frames."""
    if not (known.is_from_peer or isinstance(raised.__cause__, grpc.aio.AioRpcError)):
        return known
    if isinstance(known, errors.Unauthenticated):
        # Our own token was refused, not the client's key.
        return errors.Internal(f"internal error; request id {context.request_id.get() or 'unknown'}")
    if known.http_status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(known, errors.QuotaExceeded):
        return known
    if isinstance(known, errors.Unavailable | errors.NoFreeSlot):
        return type(known)(
            "a part of this installation cannot serve this now", retry_after_seconds=known.retry_after_seconds
        )
    if isinstance(known, errors.DeadlineExceeded):
        return errors.DeadlineExceeded("a part of this installation did not answer in time")
    return type(known)(f"internal error; request id {context.request_id.get() or 'unknown'}")
