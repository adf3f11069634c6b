"""Carries the error tree over gRPC: out as google.rpc.Status with ErrorInfo, in as the same class again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from runtime import context, errors

MAX_MESSAGE_BYTES = 2000
_MAX_QUOTED_BYTES = 3000
"""gRPC sends a message percent-encoded: a byte that is not printable ASCII as three."""

_MAX_TRAILER_BYTES = 7500
"""From 8 KiB on a client gets RESOURCE_EXHAUSTED instead of the error, now and then at first and always past 16 KiB: keep below."""

_OTHER_TRAILERS_BYTES = 500
_MAX_FIELDS = 16


def clip(text: str, limit_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """Cut text to a number of UTF-8 bytes, at a character's edge, marked by an ellipsis.

    What UTF-8 cannot say (the odd bytes of a file name, which Python keeps as lone surrogates) becomes `?`.
    """
    raw = text.encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    return raw[: limit_bytes - 3].decode(errors="ignore") + "…"


def _quoted(raw: bytes) -> int:
    """Return how many bytes a message takes in `grpc-message`."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in raw)


def _message(text: str) -> str:
    """Cut a message to what trailers hold, plain and quoted."""
    message = clip(text)
    while _quoted(message.encode()) > _MAX_QUOTED_BYTES:
        message = clip(message, len(message.encode()) * 3 // 4)
    return message


def from_exception(error: BaseException) -> errors.YiVideoError:
    """Return the error as one of the tree; what is not ours is Internal and does not show its text to the peer."""
    match error:
        case errors.YiVideoError():
            return error
        case grpc.aio.AioRpcError():
            return translate(error)
        case TimeoutError():
            return errors.DeadlineExceeded("the call took longer than its deadline")
        case asyncio.CancelledError():
            return errors.Cancelled("the call was cancelled")
        case NotImplementedError():
            return errors.Unimplemented("this server does not offer this call")
        case _:
            return errors.Internal(f"internal error; request id {context.request_id.get() or 'unknown'}")


def to_status(error: errors.YiVideoError) -> status_pb2.Status:
    """Describe an error as google.rpc.Status with ErrorInfo, BadRequest and RetryInfo where they apply."""
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=errors.DOMAIN)
    if context.request_id.get():
        info.metadata["request_id"] = context.request_id.get()
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo]
    details = [info]
    message = _message(error.message)
    left = _MAX_TRAILER_BYTES - _OTHER_TRAILERS_BYTES - len(message.encode()) - _quoted(message.encode())
    if error.fields:
        bad = error_details_pb2.BadRequest()
        for field in error.fields[:_MAX_FIELDS]:
            bad.field_violations.add(field=clip(field.pointer, 200), description=clip(field.detail, 300))
            if bad.ByteSize() > left:
                del bad.field_violations[-1]
                break
        details.append(bad)
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(error.retry_after_seconds * 1000))
        details.append(retry)
    status = status_pb2.Status(code=error.grpc_status.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_status(status: status_pb2.Status) -> errors.YiVideoError:
    """Rebuild the error that a server of ours described; a peer's bare status gives the class of that status."""
    kind: type[errors.YiVideoError] | None = None
    fields: list[errors.FieldViolation] = []
    retry_after: float | None = None
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == errors.DOMAIN:
            kind = errors.class_by_code().get(info.reason)
        elif detail.Unpack(bad):
            fields = [errors.FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    if kind is None:
        kind = errors.class_by_status(_status_code(status.code))
    return _of_peer(kind(status.message, fields=fields, retry_after_seconds=retry_after))


def _of_peer(error: errors.YiVideoError) -> errors.YiVideoError:
    error.is_from_peer = True
    return error


def _status_code(number: int) -> grpc.StatusCode:
    name = code_pb2.Code.Name(number) if number in code_pb2.Code.values() else "UNKNOWN"
    return grpc.StatusCode[name]


def translate(error: grpc.aio.AioRpcError) -> errors.YiVideoError:
    """Turn a failed call into the class that the server raised."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):  # a peer or a proxy whose details contradict its status
        status = None
    if status is not None:
        return from_status(status)
    return _of_peer(errors.class_by_status(error.code())(error.details() or error.code().name))


@asynccontextmanager
async def rpc_errors() -> AsyncIterator[None]:
    """Within the block, a failed call raises our error class instead of AioRpcError."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise translate(error) from error
