"""What happens around every RPC handler, in one order: ids, span, token, handler, error mapping, metrics, log.

One interceptor wraps each handler once and keeps the wrapper, so that a call pays for function calls only, not for a chain of
interceptor objects. Streaming handlers are async generators; a coroutine that writes by itself is refused when it is registered.
A message that cannot be read is the caller's fault: grpc alone would answer INTERNAL and print a traceback.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from runtime import context as ids
from runtime import errors, rpc_errors, spans
from runtime.call_record import CallRecord, traced

OPEN_SERVICES = frozenset({"grpc.health.v1.Health"})
"""Probes of an orchestrator carry no token."""

_TOKEN_KEY = "authorization"


class _Unreadable:
    """Stands where a message would, when the bytes that came are none."""


_UNREADABLE = _Unreadable()


def _readable(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except (DecodeError, ValueError):
            return _UNREADABLE

    return read


def _checked(request: Any) -> Any:
    if request is _UNREADABLE:
        raise errors.InvalidArgument("the request is not a message of this call's type")
    return request


async def _all_checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


def refuse_coroutine_stream(path: str, handler: grpc.RpcMethodHandler[Any, Any]) -> None:
    """Raise TypeError for a streaming handler that writes by itself instead of yielding.

    What the generated base class has for a method that nobody wrote is neither, and answers UNIMPLEMENTED.
    """
    if handler.response_streaming and inspect.iscoroutinefunction(
        handler.stream_stream or handler.unary_stream
    ):
        raise TypeError(f"{path}: a streaming handler must be an async generator")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of one server."""

    def __init__(self, token: str | None) -> None:
        self.open_services = set(OPEN_SERVICES)
        """Services whose callers need no token."""
        self._expected = f"Bearer {token}".encode() if token else None
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the wrapped handler of the method that is called."""
        path: str = handler_call_details.method
        wrapped = self._wrapped.get(path)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return handler
            wrapped = self._wrap(path, handler)
            self._wrapped[path] = wrapped
        return wrapped

    def _wrap(self, path: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        service, _, method = path.strip("/").rpartition("/")
        codec = {
            "request_deserializer": _readable(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        check = _all_checked if handler.request_streaming else _checked
        if handler.response_streaming:
            inner: Callable[..., Any] = (
                handler.stream_stream if handler.request_streaming else handler.unary_stream
            ) or _absent
            wrapped = self._stream(service, method, inner, check)
            if handler.request_streaming:
                return grpc.stream_stream_rpc_method_handler(wrapped, **codec)
            return grpc.unary_stream_rpc_method_handler(wrapped, **codec)
        inner = (handler.stream_unary if handler.request_streaming else handler.unary_unary) or _absent
        answer = self._answer(service, method, inner, check)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(answer, **codec)
        return grpc.unary_unary_rpc_method_handler(answer, **codec)

    def _enter(
        self, service: str, context: grpc.aio.ServicerContext[Any, Any], call: CallRecord, *, is_stream: bool
    ) -> None:
        metadata = dict(context.invocation_metadata() or ())
        offered = _text(metadata.get(ids.TRACEPARENT_KEY))
        # gRPC runs each call in a task of its own, so these need no reset.
        ids.request_id.set(ids.accepted_request_id(_text(metadata.get(ids.REQUEST_ID_KEY))))
        ids.traceparent.set(ids.accepted_traceparent(offered))
        ids.tracestate.set(ids.accepted_tracestate(_text(metadata.get(ids.TRACESTATE_KEY)), offered))
        if service not in self.open_services:
            # A stream that came without a trace stands between two of our processes and serves many.
            if spans.is_on():
                traced(call, may_begin=not is_stream and not ids.offered_traceparent(offered))
            context.set_trailing_metadata(_trace_of_answer())
        if self._expected is not None and service not in self.open_services:
            offered = _text(metadata.get(_TOKEN_KEY)) or ""
            if not hmac.compare_digest(offered.encode(), self._expected):
                raise errors.Unauthenticated("the internal token is missing or wrong")

    def _answer(
        self, service: str, method: str, inner: Callable[..., Any], check: Callable[[Any], Any]
    ) -> Callable[..., Awaitable[Any]]:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            call = CallRecord(service, method)
            try:
                self._enter(service, context, call, is_stream=False)
                response = await inner(check(request), context)
            except asyncio.CancelledError:
                call.cancelled()
                raise
            except grpc.aio.AbortError:
                call.ended(grpc.StatusCode.UNKNOWN)
                raise
            except Exception as error:
                await _abort(context, call, error)
                raise  # unreachable: abort raises
            call.succeeded()
            return response

        return handle

    def _stream(
        self, service: str, method: str, inner: Callable[..., Any], check: Callable[[Any], Any]
    ) -> Callable[..., AsyncIterator[Any]]:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            call = CallRecord(service, method)
            try:
                self._enter(service, context, call, is_stream=True)
                # Closed here and now: when the client leaves, the handler's clean-up must not wait for the garbage collector.
                async with aclosing(inner(check(request), context)) as responses:
                    async for response in responses:
                        yield response
            except (asyncio.CancelledError, GeneratorExit):
                call.cancelled()
                raise
            except grpc.aio.AbortError:
                call.ended(grpc.StatusCode.UNKNOWN)
                raise
            except Exception as error:
                await _abort(context, call, error)
            else:
                call.succeeded()

        return handle


def _trace_of_answer() -> tuple[tuple[str, str], ...]:
    """Return what an answer says of the trace that its call belongs to."""
    state = ids.tracestate.get()
    mine = (ids.TRACEPARENT_KEY, ids.traceparent.get())
    return (mine, (ids.TRACESTATE_KEY, state)) if state else (mine,)


def _absent(*_: object) -> Any:
    raise NotImplementedError


def _text(value: str | bytes | None) -> str | None:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


async def _abort(context: grpc.aio.ServicerContext[Any, Any], call: CallRecord, error: Exception) -> None:
    known = rpc_errors.from_exception(error)
    call.failed(error, known)
    status = rpc_status.to_status(rpc_errors.to_status(known))
    trailing = (*status.trailing_metadata, *_trace_of_answer())
    await context.abort(status.code, status.details, trailing)
