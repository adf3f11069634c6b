"""Errors as REST answers: RFC 9457 problem+json that also carries the origin's `error{code,message,timestamp}`.

One middleware turns everything a handler raises into one shape; statuses come from `runtime.errors`, and nothing else leaks.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict

from runtime import context, errors, rpc_errors
from runtime.logs import get_logger

log = get_logger(__name__)

PROBLEM_JSON = "application/problem+json"

UNDER_WAY = web.RequestKey("under_way", web.StreamResponse)
"""Request key that a handler sets once it has begun to send; an error after that can only break the connection."""

_CODES = {
    400: errors.InvalidArgument.code,
    401: errors.Unauthenticated.code,
    403: errors.PermissionDenied.code,
    404: errors.NotFound.code,
    405: "METHOD_NOT_ALLOWED",
    411: "LENGTH_REQUIRED",
    413: errors.PayloadTooLarge.code,
    414: "PATH_TOO_LONG",
    415: "UNSUPPORTED_MEDIA_TYPE",
    416: errors.RangeRefused.code,
    417: "EXPECTATION_FAILED",
}
"""Codes of the errors that aiohttp raises by itself."""

_RETRY_AFTER_SECONDS = {429: 1.0, 503: 2.0}
"""What a client is told to wait when the part that refused did not say."""

_KEPT_HEADERS = ("Allow", "Content-Range")


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class FieldFault(_Answer):
    """One field that was refused."""

    pointer: str
    """JSON pointer into the body, or `?name` for a query parameter."""
    detail: str
    """Why."""


class LegacyError(_Answer):
    """The same error in the shape that clients of the first YiVideo read."""

    code: str
    """Stable code."""
    message: str
    """English text for the developer who called."""
    timestamp: datetime
    """When it happened."""


class Problem(_Answer):
    """What every error answer is."""

    type: str
    """Names the kind of problem; stable, one per code."""
    title: str
    """The HTTP status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """English text for the developer who called."""
    instance: str
    """Path that was asked for."""
    code: str
    """Stable code, for example `TASK_NOT_FOUND`."""
    request_id: str
    """Names this request in the logs; also in the header `X-Request-Id`."""
    timestamp: datetime
    """When it happened."""
    errors: list[FieldFault]
    """The fields at fault; may be empty."""
    error: LegacyError
    """The same once more, in the origin's shape."""


def _title(status: int) -> str:
    if status == errors.Cancelled.http_status:
        return "Client Closed Request"
    return HTTPStatus(status).phrase


def problem_response(
    request: web.BaseRequest,
    status: int,
    code: str,
    detail: str,
    *,
    fields: tuple[errors.FieldViolation, ...] = (),
    headers: dict[str, str] | None = None,
) -> web.Response:
    """Write one error answer."""
    now = datetime.now(UTC)
    body = Problem(
        type=f"urn:yivideo:problem:{code.lower().replace('_', '-')}",
        title=_title(status),
        status=status,
        detail=detail,
        instance=request.rel_url.raw_path,
        code=code,
        request_id=context.request_id.get(),
        timestamp=now,
        errors=[FieldFault(pointer=field.pointer, detail=field.detail) for field in fields],
        error=LegacyError(code=code, message=detail, timestamp=now),
    )
    return web.Response(
        status=status, body=body.model_dump_json().encode(), content_type=PROBLEM_JSON, headers=headers
    )


def from_known(request: web.BaseRequest, error: errors.YiVideoError) -> web.Response:
    """Write the answer for an error of our tree."""
    headers = {}
    wait = error.retry_after_seconds
    if wait is None:
        wait = _RETRY_AFTER_SECONDS.get(error.http_status)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="yivideo"'
    return problem_response(
        request, error.http_status, error.code, error.message, fields=error.fields, headers=headers
    )


def from_http(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """Write the answer for an error that aiohttp raised: unknown path, wrong method, body too large."""
    code = _CODES.get(error.status, f"HTTP_{error.status}")
    headers = {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}
    if isinstance(error, web.HTTPMethodNotAllowed):
        detail = f"{error.method} is not offered here; allowed: {', '.join(sorted(error.allowed_methods))}"
    elif error.status == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this path; /docs lists what there is"
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = "the body is larger than this installation accepts"
    else:
        detail = _title(error.status)
    return problem_response(request, error.status, code, detail, headers=headers)


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem answer; an error in mid-answer breaks the connection."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return from_http(request, error)
    except ConnectionError:
        raise
    except Exception as error:
        known = rpc_errors.from_exception(error)
        begun: web.StreamResponse | None = request.get(UNDER_WAY)
        if begun is not None:
            log.warning("answer broken off", code=known.code, reason=known.message)
            if request.transport is not None:
                request.transport.abort()
            return begun
        if known.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log_failure(known, error)
        return from_known(request, _presentable(known, error))


def _log_failure(known: errors.YiVideoError, raised: Exception) -> None:
    """Log a fault of ours with its trace; what operations bring with them, a room that restarts, with one line."""
    if isinstance(known, errors.Unavailable | errors.NoFreeSlot | errors.DeadlineExceeded):
        log.warning("request not served", code=known.code, reason=known.message)
    else:
        log.error("request failed", code=known.code, reason=known.message, exc_info=raised)


def _presentable(known: errors.YiVideoError, raised: Exception) -> errors.YiVideoError:
    """Keep to ourselves what a peer says about its own faults: addresses, paths, stack frames."""
    if not (known.is_from_peer or isinstance(raised.__cause__, grpc.aio.AioRpcError)):
        return known
    if isinstance(known, errors.Unauthenticated):
        # Our own token was refused, not the client's key.
        return errors.Internal(f"internal error; request id {context.request_id.get() or 'unknown'}")
    if known.http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return known
    if isinstance(known, errors.Unavailable | errors.NoFreeSlot):
        return type(known)(
            "a part of this installation cannot serve this now", retry_after_seconds=known.retry_after_seconds
        )
    if isinstance(known, errors.DeadlineExceeded):
        return errors.DeadlineExceeded("a part of this installation did not answer in time")
    return type(known)(f"internal error; request id {context.request_id.get() or 'unknown'}")
