"""Sends spans to an OpenTelemetry collector (OTLP over gRPC), from a thread of the SDK's. Imported only when traces are on.

Nobody waits for it: a bounded number of spans is kept for the next batch, what does not fit is dropped and counted, and so is a
batch that the collector did not take in time. Of the SDK we use what comes after a span has ended, its batches and its exporter.
Its tracer ends a span only where it was begun, and a task's span ends in another process (ADR 25); and a span costs 20 µs here,
53 µs through the tracer.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from runtime import VERSION
from runtime.logs import get_logger
from runtime.metrics import SPANS_DROPPED, SPANS_EXPORTED
from runtime.seldom import Seldom
from runtime.settings import TracesSection, read_headers, read_pem
from runtime.spans import Kind, Span, recording

log = get_logger(__name__)
seldom = Seldom(log, period_seconds=60.0)

_KINDS = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT}
_SCOPE = InstrumentationScope("yivideo", VERSION)
_GOOD = Status(StatusCode.UNSET)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_BATCH = 512
_LAST_SECONDS = 2.0
"""What a process gives its last spans when it ends."""


class _Counting(SpanExporter):
    """Counts what becomes of the spans of an exporter."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.taken = 0
        """Spans that have left the queue."""
        self.settled = 0
        """Those of which it is known what became of them."""
        self.is_closed = False
        """Whether what is not settled yet has been counted as lost."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._inner.export(spans)
        if self.is_closed:
            return result
        self.settled += len(spans)
        if result is SpanExportResult.SUCCESS:
            SPANS_EXPORTED.inc(len(spans))
        else:
            SPANS_DROPPED.labels("not_taken").inc(len(spans))
            seldom.warning("the collector took no spans; they are dropped", spans=len(spans))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class Export:
    """One process's way to its collector. `record` is called from one thread only, the event loop's."""

    def __init__(self, process: str, settings: TracesSection) -> None:
        self._threshold = round(settings.sample_ratio * (1 << 64))
        self._most = settings.max_waiting_spans
        self._given = 0
        self._exporter = _Counting(_otlp(settings))
        # Its own bound is never met: ours is lower, and counts.
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=self._most + _BATCH,
            schedule_delay_millis=settings.batch_seconds * 1000,
            max_export_batch_size=min(_BATCH, self._most),
        )
        self._resource = _resource(process, settings)

    def samples(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded: the same for the same id in every process."""
        return int(trace_id[16:], 16) < self._threshold

    def record(self, span: Span) -> None:
        """Put an ended span among those of the next batch, or drop it when there are too many."""
        if self._given - self._exporter.taken >= self._most:
            SPANS_DROPPED.labels("queue_full").inc()
            seldom.warning("spans are made faster than the collector takes them; some are dropped")
            return
        self._given += 1
        try:
            self._tell(span)
        except Exception as error:  # a span is never worth a task
            SPANS_DROPPED.labels("broken").inc()
            self._given -= 1
            seldom.warning("a span could not be told", error=repr(error))

    def _tell(self, span: Span) -> None:
        state = TraceState.from_header([span.tracestate]) if span.tracestate else None
        trace_id = int(span.trace_id, 16)

        def context(span_id: str) -> SpanContext:
            return SpanContext(trace_id, int(span_id, 16), True, _SAMPLED, state)

        attributes = {**span.attributes, "error.type": span.error} if span.error else span.attributes
        told = ReadableSpan(
            span.name,
            context(span.span_id),
            context(span.parent_id) if span.parent_id else None,
            self._resource,
            attributes,
            links=[Link(context(one)) for one in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else _GOOD,
            start_time=span.start_ns,
            end_time=max(span.end_ns, span.start_ns),
            instrumentation_scope=_SCOPE,
        )
        self._processor.on_end(told)

    def close(self) -> None:
        """Send what is left, for a bounded time."""
        last = threading.Thread(target=self._processor.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SECONDS)
        if last.is_alive():
            self._exporter.is_closed = True
            SPANS_DROPPED.labels("not_taken").inc(self._given - self._exporter.settled)
            self._exporter.shutdown()


def _otlp(settings: TracesSection) -> OTLPSpanExporter:
    secure = settings.endpoint.startswith("https://")
    credentials = None
    if secure:
        authority = read_pem(settings.authority) if settings.authority else None
        credentials = grpc.ssl_channel_credentials(root_certificates=authority)
    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        insecure=not secure,
        credentials=credentials,
        headers=read_headers(settings.headers_file) if settings.headers_file else (("x-yivideo", VERSION),),
        timeout=settings.timeout_seconds,
    )


def _resource(process: str, settings: TracesSection) -> Resource:
    return Resource.create(
        {
            "service.namespace": settings.service_name,
            "service.name": f"{settings.service_name}-{process}",
            "service.version": VERSION,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )


@contextmanager
def exporting(process: str, settings: TracesSection) -> Iterator[None]:
    """Record and export this process's spans for the time of the block. Raises SettingsError for a file that cannot be read."""
    # It tells each failed try; the lines that an operator needs are ours.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    export = Export(process, settings)
    log.info("traces are on", endpoint=settings.endpoint, sample_ratio=settings.sample_ratio)
    try:
        with recording(export):
            yield
    finally:
        export.close()
