"""An OpenTelemetry collector in memory: a real OTLP receiver over gRPC that keeps the spans it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Got:
    """A span as it came."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: str
    start: int
    end: int
    attributes: dict[str, Any]
    links: tuple[str, ...]
    error: str
    state: str

    def __str__(self) -> str:
        return f"{self.service}: {self.name}"


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What has come so far."""

    endpoint: str = ""
    spans: list[Got] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any) -> Any:
        await self.may_answer.wait()
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        self.raw.append(request.SerializeToString())
        async with self.changed:
            for resource in request.resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [_got(names["service.name"], span) for span in scope.spans]
            self.changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    async def wait(self, is_enough: Callable[[list[Got]], object], seconds: float = 15.0) -> list[Got]:
        """Wait until what has come is enough; gives it."""
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: is_enough(self.spans))
        except TimeoutError:
            raise AssertionError("\n".join(map(str, self.spans))) from None
        return list(self.spans)

    async def trace(self, trace_id: str, *names: str, seconds: float = 15.0) -> list[Got]:
        """Wait until a trace has a span of each of these names; gives its spans."""

        def enough(spans: list[Got]) -> bool:
            return set(names) <= {span.name for span in spans if span.trace == trace_id}

        return [span for span in await self.wait(enough, seconds) if span.trace == trace_id]


def _got(service: str, span: trace_pb2.Span) -> Got:
    values = {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}
    assert {link.trace_id for link in span.links} <= {span.trace_id}
    return Got(
        service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.start_time_unix_nano, span.end_time_unix_nano, values,
        tuple(link.span_id.hex() for link in span.links),
        span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else "",
        span.trace_state,
    )  # fmt: skip


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector for the time of the block."""
    collector = Collector()
    collector.may_answer.set()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    collector.endpoint = f"http://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        collector.may_answer.set()
        await server.stop(0)
