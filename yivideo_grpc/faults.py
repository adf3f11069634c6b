"""Errors of the installation as the client's own, with the same codes and pointers as over REST."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from runtime.errors import YiVideoError
from runtime.rpc_errors import rpc_errors
from yivideo_client.errors import ApiError, api_error
from yivideo_client.tries import Broken

_DETAILS = "grpc-status-details-bin"
_IN_WORKFLOW = re.compile(r"(/tasks/\d+)/spec(/.+)")
_REST_NAMES = {"input": "input_data", "callback_url": "callback"}


def as_api_error(error: YiVideoError) -> ApiError:
    """Return what REST would have raised."""
    message = error.message
    fields = []
    for field in error.fields:
        pointer = _in_rest_words(field.pointer)
        message = message.replace(f"{field.pointer}:", f"{pointer}:", 1)
        fields.append({"pointer": pointer, "detail": field.detail})
    body = {"code": error.code, "detail": message, "errors": fields}
    return api_error(error.http_status, body, error.retry_after_seconds)


def _in_rest_words(pointer: str) -> str:
    if found := _IN_WORKFLOW.fullmatch(pointer):
        return found[1] + _in_rest_words(found[2])
    first, slash, rest = pointer.removeprefix("/").partition("/")
    return f"/{_REST_NAMES.get(first, first)}{slash}{rest}"


@asynccontextmanager
async def told() -> AsyncIterator[None]:
    """Raise ApiError for what a call is answered, Broken where nobody answered."""
    try:
        async with rpc_errors():
            yield
    except YiVideoError as error:
        if _is_from_grpc(error.__cause__):
            raise Broken(error.message) from error
        raise as_api_error(error) from error


def _is_from_grpc(cause: BaseException | None) -> bool:
    """Whether it was the connection that failed: servers of ours say more than a status."""
    return (
        isinstance(cause, grpc.aio.AioRpcError)
        and cause.code() == grpc.StatusCode.UNAVAILABLE
        and all(name != _DETAILS for name, _ in cause.trailing_metadata() or ())
    )
