"""A task in its client's trace: one span for the task, one for each wait in the queue, one for each attempt, one for each delivery.

    task ffmpeg.extract_audio          from its submit to its end; its parent is the submit's span, which the spec names
    ├─ queue                           ready until claimed
    ├─ attempt                         claimed until concluded; the node's spans lie below
    ├─ queue
    ├─ attempt                         links to the attempt before
    └─ callback

The ids of the task's and the attempts' spans are made of what Redis keeps of the task, so whichever scheduler ends one gives it the
id that others have already called their parent: neither a restart nor an adoption cuts the tree. Each is told once, by the replica
whose script ended it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from runtime import context as ids
from runtime import spans
from scheduler.queue.record import TaskRecord
from yivideo.task.v1 import task_pb2

_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class TaskTrace:
    """Where one life of a task stands in its trace."""

    record: TaskRecord
    trace_id: str
    parent_id: str
    tracestate: str

    @property
    def task_span_id(self) -> str:
        """Of the task; it has another one when it runs again after its end."""
        return spans.derived_id(self.record.task_id, "task", self.trace_id, self.record.first_sequence)

    def attempt_span_id(self, fence: int) -> str:
        """Of the attempt with that fence."""
        return spans.derived_id(self.record.task_id, "attempt", self.trace_id, fence)

    @property
    def below_task(self) -> str:
        """Traceparent of what belongs to the task."""
        return f"00-{self.trace_id}-{self.task_span_id}-01"

    @property
    def below_attempt(self) -> str:
        """Traceparent of what belongs to the attempt that the record tells of."""
        return f"00-{self.trace_id}-{self.attempt_span_id(self.record.fence)}-01"

    def tell_queue(self, end_ns: int = 0, outcome: str = "") -> None:
        """The wait is over: claimed, or (`outcome`) ended without."""
        record = self.record
        span = self._span("queue", self.task_span_id, spans.derived_id(time.time_ns(), record.task_id))
        span.start_ns = (record.ready_ms or record.created_us // 1000) * _MS
        if outcome:
            span.attributes["yivideo.outcome"] = outcome
        span.end(end_ns=end_ns or record.run_ms * _MS)

    def tell_attempt(self, outcome: str, code: str, before: int) -> None:
        """The attempt is concluded; `before`: fence of the attempt that it follows, 0: none."""
        record = self.record
        span = self._span("attempt", self.task_span_id, self.attempt_span_id(record.fence))
        span.kind = spans.Kind.CLIENT
        span.start_ns = record.run_ms * _MS
        span.attributes |= {
            "yivideo.attempt": record.attempt,
            "yivideo.replica": record.replica,
            "yivideo.outcome": outcome,
        }
        if before:
            span.links = (self.attempt_span_id(before),)
        span.end(code)

    def tell_task(self, state: str, code: str) -> None:
        """The task has ended."""
        record = self.record
        span = self._span(f"task {record.name}", self.parent_id, self.task_span_id)
        # Of a life after the first it is not kept when it began; its last wait is.
        is_first = record.first_sequence <= 1
        # In whole milliseconds, as the times of what lies below it.
        span.start_ns = (record.created_us // 1000 if is_first else record.ready_ms) * _MS
        span.attributes |= {"yivideo.state": state, "yivideo.workflow_id": record.workflow_id}
        span.end(code)

    def _span(self, name: str, parent_id: str, span_id: str) -> spans.Span:
        attributes: dict[str, spans.Value] = {
            "yivideo.task_id": self.record.task_id,
            "yivideo.task_name": self.record.name,
        }
        return spans.Span(
            name, self.trace_id, span_id, parent_id, attributes=attributes, tracestate=self.tracestate
        )


def trace_of(record: TaskRecord, raw_spec: bytes) -> TaskTrace | None:
    """Return where a task stands in its trace; None when that is not recorded."""
    if not spans.is_on():
        return None
    spec = task_pb2.TaskSpec.FromString(raw_spec)
    if not ids.offered_traceparent(spec.traceparent) or not ids.is_sampled(spec.traceparent):
        return None
    _, trace, parent, _ = spec.traceparent.split("-")
    return TaskTrace(record, trace, parent, spec.tracestate)
