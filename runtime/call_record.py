"""One call that a server answers: its figures, its span, and its line in the log when it fails."""

from __future__ import annotations

import time
from functools import cache

import grpc

from runtime import context as ids
from runtime import errors, metrics, spans
from runtime.logs import get_logger

log = get_logger(__name__)


class _Figures:
    """The figures of one RPC, looked up once."""

    def __init__(self, service: str, method: str) -> None:
        self.started = metrics.RPC_STARTED.labels(service, method)
        self.seconds = metrics.RPC_SECONDS.labels(service, method)
        self.succeeded = metrics.RPC_HANDLED.labels(service, method, grpc.StatusCode.OK.name)


_figures = cache(_Figures)


class CallRecord:
    """Begins with the call; `succeeded`, `failed` or `cancelled` ends it."""

    __slots__ = ("_figures", "_method", "_service", "_started", "span")

    def __init__(self, service: str, method: str) -> None:
        self._service = service
        self._method = method
        self._figures = _figures(service, method)
        self._started = time.perf_counter()
        self._figures.started.inc()
        self.span: spans.Span | None = None

    @property
    def name(self) -> str:
        """What its span is called: the full name of the RPC."""
        return f"{self._service}/{self._method}"

    def succeeded(self) -> None:
        """The call was answered."""
        if self.span is not None:
            self.span.end()
        self._figures.succeeded.inc()
        self._figures.seconds.observe(time.perf_counter() - self._started)

    def ended(self, code: grpc.StatusCode) -> None:
        """The call ended with a status."""
        if self.span is not None:
            self.span.attributes["rpc.grpc.status_code"] = code.value[0]
            self.span.end(code.name)
        metrics.RPC_HANDLED.labels(self._service, self._method, code.name).inc()
        self._figures.seconds.observe(time.perf_counter() - self._started)

    def cancelled(self) -> None:
        """The client left."""
        self.ended(grpc.StatusCode.CANCELLED)

    def failed(self, error: Exception, known: errors.YiVideoError) -> None:
        """The call ended with an error; `known` is what the client is told of it."""
        self.ended(known.grpc_status)
        if isinstance(known, errors.Internal):  # a fault of ours, whoever raised it: with its traceback
            log.error("call failed", method=self._method, code=known.code, exc_info=error)
        else:
            log.info("call refused", method=self._method, code=known.code, reason=known.message)


_READS = ("Get", "List", "Watch", "Stat", "Locate", "Resolve", "Verify")
"""How RPCs begin that change nothing. Our processes make many of them in the background, for no request."""


def traced(call: CallRecord, *, may_begin: bool) -> None:
    """Give a call its span, under its caller's. The span is then the current one.

    `may_begin`: or as the root of a new trace, unless it only reads.
    """
    if not spans.is_on():
        return
    if may_begin and not call.name.rpartition("/")[2].startswith(_READS):
        call.span = spans.begin_root(call.name, spans.Kind.SERVER)
    else:
        call.span = spans.begin(call.name, spans.Kind.SERVER)
    if call.span is not None:
        call.span.attributes["rpc.system.name"] = "grpc"
        ids.traceparent.set(call.span.traceparent)
