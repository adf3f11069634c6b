"""From what Redis holds to what the contract shows: records to Task, stored entries to TaskEvent."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from runtime.structs import from_struct, to_struct
from scheduler.queue.payload import masked
from scheduler.queue.record import TaskRecord
from yivideo.task.v1 import task_pb2

STATES = {
    "pending": task_pb2.TASK_STATE_PENDING,
    "blocked": task_pb2.TASK_STATE_BLOCKED,
    "running": task_pb2.TASK_STATE_RUNNING,
    "cancelling": task_pb2.TASK_STATE_CANCELLING,
    "completed": task_pb2.TASK_STATE_COMPLETED,
    "failed": task_pb2.TASK_STATE_FAILED,
    "cancelled": task_pb2.TASK_STATE_CANCELLED,
    "skipped": task_pb2.TASK_STATE_SKIPPED,
}

CALLBACK_STATES = {
    "": task_pb2.CALLBACK_STATUS_UNSPECIFIED,
    "pending": task_pb2.CALLBACK_STATUS_PENDING,
    "sent": task_pb2.CALLBACK_STATUS_SENT,
    "failed": task_pb2.CALLBACK_STATUS_FAILED,
    "invalid_url": task_pb2.CALLBACK_STATUS_INVALID_URL,
}


@dataclass(frozen=True)
class StoredTask:
    """A task with its payload and result, as serialised messages; `result` and `resolved_input` may be empty."""

    record: TaskRecord
    spec: bytes
    result: bytes = b""
    resolved_input: bytes = b""


def from_milliseconds(milliseconds: int) -> Timestamp:
    """Return a Timestamp."""
    stamp = Timestamp()
    stamp.FromMilliseconds(milliseconds)
    return stamp


def shown_spec(raw: bytes) -> task_pb2.TaskSpec:
    """Return a spec with the secrets of its input masked."""
    spec = task_pb2.TaskSpec.FromString(raw)
    if spec.input.fields:
        spec.input.CopyFrom(to_struct(masked(from_struct(spec.input))))
    return spec


def to_task(stored: StoredTask, *, brief: bool = False) -> task_pb2.Task:
    """Return the task as clients see it; `brief` leaves out input and output, as listings do."""
    record = stored.record
    spec = shown_spec(stored.spec)
    task = task_pb2.Task(
        spec=spec,
        state=STATES[record.state],
        waiting_reason=waiting_reason(record),
        attempt=record.attempt,
        worker_lost_count=record.lost,
        replica=record.replica,
        duration_seconds=record.duration_seconds,
        callback_status=CALLBACK_STATES[record.callback_state],
        last_sequence=record.last_sequence,
        create_time=from_milliseconds(record.created_us // 1000),
        update_time=from_milliseconds(record.updated_ms),
        waits_for=sorted(record.depends_on),
    )
    if record.run_ms:
        task.run_time.FromMilliseconds(record.run_ms)
    if record.ended:
        task.end_time.FromMilliseconds(record.end_ms)
    if record.ended and record.expire_ms:  # a workflow's tasks age from its end
        task.expire_time.FromMilliseconds(record.expire_ms)
    if record.error and record.state == "failed":
        task.error.ParseFromString(record.error)
    if record.state == "cancelled":
        task.cancel_reason = record.cancel_reason
    if record.progress:
        task.progress.CopyFrom(task_pb2.TaskEvent.FromString(record.progress).progress)
    if brief:
        task.spec.ClearField("input")
        return task
    if stored.result:
        result = task_pb2.TaskCompleted.FromString(stored.result)
        task.output.CopyFrom(result.output)
        task.files.extend(result.files)
    if stored.resolved_input:
        resolved = task_pb2.TaskSpec.FromString(stored.resolved_input).input
        task.resolved_input.CopyFrom(to_struct(masked(from_struct(resolved))))
    elif record.attempt and spec.HasField("input"):
        task.resolved_input.CopyFrom(spec.input)
    return task


def waiting_reason(record: TaskRecord) -> str:
    """Return why a task waits, for people; empty when it does not."""
    if record.waiting_reason:
        return record.waiting_reason
    if record.state == "blocked":
        return "waiting for other tasks"
    if record.state != "pending":
        return ""
    return "waiting for capacity" if record.ready_ms >= record.not_before_ms else "waiting for its start time"


def to_reuse(record: TaskRecord) -> task_pb2.Reuse:
    """Return what a second submit is told about the task that was there already."""
    reuse = task_pb2.Reuse(hit=True, task_name=record.name, source="redis")
    if record.ended:
        reuse.cached_time.FromMilliseconds(record.end_ms)
    else:
        reuse.state = record.state
    return reuse


def to_event(task_id: str, sequence: int, attempt: int, time_ms: int, body: bytes) -> task_pb2.TaskEvent:
    """Return a stored event with its place in the task's history."""
    event = task_pb2.TaskEvent.FromString(body)
    event.task_id = task_id
    event.sequence = sequence
    event.attempt = attempt
    event.time.FromMilliseconds(time_ms)
    return event
