"""Errors as RFC 9457 problem+json that also carries the first YiVideo's `error{code,message,timestamp}`."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gateway.http.errors import detail_of, kept_headers, standard_headers, status_text
from runtime import context, errors

PROBLEM_JSON = "application/problem+json"

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


class ProblemErrors:
    """The error policy that writes problems."""

    media_type = PROBLEM_JSON
    model = Problem

    def from_known(self, request: web.BaseRequest, error: errors.YiVideoError) -> web.Response:
        """Write the answer for an error of our tree; its status comes from `runtime.errors`."""
        return _response(
            request,
            error.http_status,
            error.code,
            error.message,
            fields=error.fields,
            headers=standard_headers(error),
        )

    def from_http(self, request: web.BaseRequest, error: web.HTTPException) -> web.Response:
        """Write the answer for an error that aiohttp raised."""
        code = _CODES.get(error.status, f"HTTP_{error.status}")
        return _response(request, error.status, code, detail_of(error), headers=kept_headers(error))


def _response(
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
        title=status_text(status),
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
