"""Prometheus: one endpoint per process, and the figures every process has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from runtime.addresses import split_host_port
from runtime.metrics_server import MetricsServer
from runtime.settings import cannot_listen

JOB_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, float("inf"))
"""Seconds; for media work, which takes minutes where the client library's own buckets end at ten seconds."""

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, float("inf"))
"""Seconds; for calls and waits."""

BUILD_INFO = Gauge("yivideo_build_info", "Always 1; labels say what runs.", ["process", "version"])
DRAIN_BEGUN = Gauge(
    "yivideo_drain_begun_timestamp_seconds", "When this process was told to stop; 0: it was not."
)
DRAIN_LIMIT = Gauge("yivideo_drain_limit_seconds", "How long what is under way may take after that.")
CERTIFICATE_END = Gauge(
    "yivideo_certificate_end_timestamp_seconds",
    "When the first of the loaded certificates ends, of those that are shown and those that are trusted.",
    ["kind"],
)
LOOP_LAG = Histogram(
    "yivideo_event_loop_lag_seconds", "How late the event loop ran a timer.", buckets=LATENCY_BUCKETS
)
SPANS_EXPORTED = Counter("yivideo_trace_spans_exported", "Spans that the collector has taken.")
SPANS_DROPPED = Counter(
    "yivideo_trace_spans_dropped",
    "Spans that never got to the collector: too many waited (queue_full), it did not take them in time (not_taken).",
    ["reason"],
)
RPC_STARTED = Counter("grpc_server_started_total", "Calls begun.", ["grpc_service", "grpc_method"])
RPC_HANDLED = Counter(
    "grpc_server_handled_total", "Calls ended.", ["grpc_service", "grpc_method", "grpc_code"]
)
RPC_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "Seconds a call took.",
    ["grpc_service", "grpc_method"],
    buckets=LATENCY_BUCKETS,
)


@contextmanager
def metrics_endpoint(listen: str) -> Iterator[int]:
    """Serve /metrics on `host:port` for the time of a block; gives the port. An empty address serves nothing (0).

    Raises SettingsError when nobody can listen there.
    """
    if not listen:
        yield 0
        return
    host, port = split_host_port(listen)
    try:
        server = MetricsServer(host, port)
    except OSError as error:
        raise cannot_listen("runtime.metrics_listen", listen, error) from None
    with server:
        yield server.port


async def watch_loop_lag(period_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
    """Measure for ever how late this process's event loop is; a blocked loop is the first thing an operator asks for."""
    while True:
        due = clock() + period_seconds
        await asyncio.sleep(period_seconds)
        LOOP_LAG.observe(max(0.0, clock() - due))
