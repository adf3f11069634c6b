"""Spans: who is whose parent, what is recorded, what they say, and what it costs when nobody takes them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime import context as ids
from runtime import errors, spans
from runtime.channel import open_channel
from runtime.metrics import SPANS_DROPPED, SPANS_EXPORTED
from runtime.rpc_errors import rpc_errors
from runtime.settings import SettingsError, TracesSection, read_headers
from runtime.span_export import Export, exporting
from tests.conftest import ROOT
from tests.runtime.collector import collecting
from tests.runtime.test_rpc import Servicer, served
from yivideo.task.v1 import task_pb2, task_pb2_grpc

TRACE = "ab" * 16
CALLER = f"00-{TRACE}-{'cd' * 8}-01"


class Kept:
    """Keeps spans; samples every trace, or none."""

    def __init__(self, *, samples: bool = True) -> None:
        self.spans: list[spans.Span] = []
        self._samples = samples

    def samples(self, trace_id: str) -> bool:
        return self._samples

    def record(self, span: spans.Span) -> None:
        self.spans.append(span)


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What this process records for the time of a test."""
    recorder = Kept()
    with spans.recording(recorder):
        yield recorder


def dropped(reason: str) -> float:
    value: float = SPANS_DROPPED.labels(reason)._value.get()
    return value


def test_a_span_is_the_parent_of_what_happens_within(kept: Kept) -> None:
    """Blocks within blocks; calls and log lines made within carry the inner one, and outside it is gone."""
    with ids.bound(trace=CALLER):
        with spans.span("outer") as outer:
            with spans.span("inner", bytes=3) as inner:
                assert outer and inner
                assert ids.traceparent.get() == inner.traceparent
                assert ids.span_id() == inner.span_id
            assert ids.traceparent.get() == outer.traceparent
        assert ids.traceparent.get() == CALLER
    assert [one.name for one in kept.spans] == ["inner", "outer"]
    assert (inner.parent_id, outer.parent_id) == (outer.span_id, "cd" * 8)
    assert {inner.trace_id, outer.trace_id} == {TRACE}
    assert inner.attributes == {"yivideo.bytes": 3}
    assert outer.start_ns <= inner.start_ns <= inner.end_ns <= outer.end_ns


@pytest.mark.parametrize("trace", ["", CALLER[:-1] + "0"])
def test_a_trace_that_nobody_records_has_no_spans(kept: Kept, trace: str) -> None:
    """Outside any trace and in one that is not sampled: nothing is made, and the context stays the caller's."""
    with ids.bound(trace=trace), spans.span("work") as span:
        assert span is None
        assert ids.traceparent.get() == trace
    assert not kept.spans


def test_without_a_recorder_there_are_none() -> None:
    """Traces are off: a sampled trace of a caller goes through as it came."""
    with ids.bound(trace=CALLER), spans.span("work") as span:
        assert span is None
        assert ids.traceparent.get() == CALLER


def test_a_span_tells_an_error_by_its_code_alone(kept: Kept) -> None:
    """What an exception says may quote a path or a text; it goes on to the caller untouched."""
    for error, code in (
        (errors.TaskNotFound("/home/eve/film.mp4"), "TASK_NOT_FOUND"),
        (KeyError("eve"), "KeyError"),
    ):
        with ids.bound(trace=CALLER), pytest.raises(type(error)), spans.span("work"):
            raise error
        assert kept.spans[-1].error == code
    assert "eve" not in repr(kept.spans)


def test_an_id_made_of_words_is_the_same_everywhere() -> None:
    """Another process that knows the words finds the span; other words, also when they join to the same text, are another."""
    code = "from runtime.spans import derived_id; print(derived_id('task-1', 'attempt', 7))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == spans.derived_id("task-1", "attempt", 7)
    assert len({spans.derived_id("a", "b"), spans.derived_id("ab"), spans.derived_id("a", "", "b")}) == 3


def test_a_root_that_is_not_sampled_is_not_recorded_further_on() -> None:
    """The decision travels: whoever is called sees a trace that is not recorded."""
    with spans.recording(Kept(samples=False)), ids.bound(trace="", state=""):
        assert spans.begin_root("request", spans.Kind.SERVER) is None
        assert ids.trace_id()
        assert not ids.is_sampled()


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_the_ratio_is_of_traces(ratio: float) -> None:
    """Whether a trace is recorded follows from its id, evenly, so that all processes agree."""
    export = Export("test", TracesSection(endpoint="http://127.0.0.1:1", sample_ratio=ratio))
    try:
        taken = sum(export.samples(spans.derived_id(n) * 2) for n in range(2000))
    finally:
        export.close()
    assert abs(taken / 2000 - ratio) < 0.05
    assert ratio not in (0.0, 1.0) or taken == 2000 * ratio


async def test_what_a_collector_gets(tmp_path: Path) -> None:
    """Names, ids, parents, times, links, codes, the caller's state; and the headers of the secret file with every batch."""
    headers = tmp_path / "headers"
    headers.write_text("\nAuthorization: Bearer x:y \n")
    async with collecting() as collector:
        section = TracesSection(endpoint=collector.endpoint, headers_file=headers, batch_seconds=0.05)
        before = SPANS_EXPORTED._value.get()
        with exporting("test", section), ids.bound(trace=CALLER, state="v=1"):
            with spans.span("work", spans.Kind.CLIENT, bytes=3) as span:
                assert span is not None
                span.links = ("ef" * 8,)
            root = spans.begin_root("request", spans.Kind.SERVER)
            assert root is not None
            root.end("BROKEN")
            got = await collector.wait(lambda found: len(found) == 2)
        work, request = sorted(got, key=lambda one: one.name, reverse=True)
    assert (work.service, work.trace, work.id, work.parent) == ("yivideo-test", TRACE, span.span_id, "cd" * 8)
    assert (work.kind, work.state, work.links, work.error) == ("client", "v=1", ("ef" * 8,), "")
    assert work.attributes == {"yivideo.bytes": 3}
    assert (work.start, work.end) == (span.start_ns, span.end_ns)
    assert (request.parent, request.error, request.state) == ("", "BROKEN", "")
    assert request.trace not in ("", TRACE)
    assert collector.metadata[0]["authorization"] == "Bearer x:y"
    assert SPANS_EXPORTED._value.get() - before == 2


@pytest.mark.parametrize("collector_is", ["silent", "gone"])
async def test_a_dead_collector_costs_spans_and_no_time(
    collector_is: str, free_port: Callable[[], int]
) -> None:
    """The queue is bounded: what does not fit is dropped and counted, at once; so is what waits when the process ends."""
    async with collecting() as collector:
        collector.may_answer.clear()
        section = TracesSection(
            endpoint=collector.endpoint if collector_is == "silent" else f"http://127.0.0.1:{free_port()}",
            max_waiting_spans=10,
            batch_seconds=0.01,
            timeout_seconds=30,
        )
        full, lost = dropped("queue_full"), dropped("not_taken")
        began = time.monotonic()
        with exporting("test", section), ids.bound(trace=CALLER):
            for _ in range(200):
                with spans.span("work"):
                    pass
            made_seconds = time.monotonic() - began
        closed_seconds = time.monotonic() - began - made_seconds
    assert made_seconds < 1
    assert closed_seconds < 6
    assert 170 <= dropped("queue_full") - full < 200
    assert dropped("queue_full") - full + dropped("not_taken") - lost == 200


@pytest.mark.parametrize("text", ["no colon", "na me: x", "key:", "key: \x7f"])
def test_a_header_that_cannot_be_sent_is_told_by_its_line(tmp_path: Path, text: str) -> None:
    """The process ends with the line's number, and never quotes the secret."""
    file = tmp_path / "headers"
    file.write_text(f"good: 1\n{text}\n")
    with pytest.raises(SettingsError, match="line 2 of") as refused:
        read_headers(file)
    assert text not in str(refused.value)


def test_what_traces_and_reports_need_is_not_loaded_when_they_are_off() -> None:
    """An installation without traces pays neither start time nor memory for them."""
    code = """
import sys, runtime.process, runtime.server, runtime.channel, nodekit.serve
found = [name for name in sys.modules if name.startswith(("opentelemetry", "sentry_sdk"))]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)


async def test_a_call_is_a_span_of_its_caller(kept: Kept) -> None:
    """The server's span lies under the caller's, the answer names it, and a refusal is told by its status alone."""

    def refuse() -> task_pb2.Task:
        raise errors.TaskNotFound("no task eve")

    for servicer, error in ((Servicer(), ""), (Servicer(refuse), "NOT_FOUND")):
        async with served(servicer) as (_, address, settings), open_channel(address, settings) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            with ids.bound(trace=CALLER, state="v=1"):
                call = stub.GetTask(task_pb2.GetTaskRequest(task_id="eve"))
                trailing = dict(tuple(await call.trailing_metadata()))
        span = kept.spans[-1]
        assert (span.trace_id, span.parent_id, span.error) == (TRACE, "cd" * 8, error)
        assert span.name == "yivideo.task.v1.TaskService/GetTask"
        assert (trailing["traceparent"], trailing["tracestate"]) == (span.traceparent, "v=1")
        assert "eve" not in repr(span)


async def test_who_calls_without_a_trace_begins_one(kept: Kept) -> None:
    """A call that changes something is a root; a stream joins two of our processes, a read may be a poll: they are none."""
    async with served(Servicer()) as (_, address, settings), open_channel(address, settings) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)
        watch = stub.WatchTask(task_pb2.WatchTaskRequest(task_id="t"))
        await watch.read()
        watch.cancel()
        await stub.GetTask(task_pb2.GetTaskRequest(task_id="t"))
        with pytest.raises(errors.Unimplemented):
            async with rpc_errors():
                await stub.CancelTask(task_pb2.CancelTaskRequest(task_id="t"))
    found = [(one.name.rpartition("/")[2], one.parent_id, one.error) for one in kept.spans]
    assert found == [("CancelTask", "", "UNIMPLEMENTED")]
