"""OpenAI's error body, `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from gateway.http.errors import detail_of, kept_headers, standard_headers
from gateway.http.route import JSON
from runtime import errors

_CODES = {
    errors.Unauthenticated.code: "invalid_api_key",
    errors.ResourceExhausted.code: "rate_limit_exceeded",
}


class ErrorBody(BaseModel):
    """Why a request was refused or failed."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    message: str
    """English text for the developer who called."""
    type: str
    """`invalid_request_error`, `permission_error`, `rate_limit_error` or `server_error`."""
    param: str | None
    """The parameter at fault."""
    code: str | None
    """Stable code."""


class OpenAiError(BaseModel):
    """What every error answer is."""

    error: ErrorBody


def error_value(error: errors.YiVideoError) -> dict[str, Any]:
    """Return an error as the value of the body."""
    pointer = error.fields[0].pointer.lstrip("/?") if error.fields else ""
    code = _CODES.get(error.code, error.code.lower())
    if error.code == errors.NotFound.code and pointer == "model":
        code = "model_not_found"
    return _value(error.http_status, error.message, code, pointer or None)


def _value(status: int, message: str, code: str, param: str | None) -> dict[str, Any]:
    kinds = {403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class OpenAiErrors:
    """The error policy that writes them."""

    media_type = JSON
    model = OpenAiError

    def from_known(self, request: web.BaseRequest, error: errors.YiVideoError) -> web.Response:
        """Write the answer for an error of our tree."""
        body = orjson.dumps(error_value(error))
        return web.Response(
            status=error.http_status, body=body, content_type=JSON, headers=standard_headers(error)
        )

    def from_http(self, request: web.BaseRequest, error: web.HTTPException) -> web.Response:
        """Write the answer for an error that aiohttp raised."""
        body = orjson.dumps(_value(error.status, detail_of(error), f"http_{error.status}", None))
        return web.Response(status=error.status, body=body, content_type=JSON, headers=kept_headers(error))
