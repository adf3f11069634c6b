"""From what Redis holds of a workflow to what the contract shows: Workflow and WorkflowEvent, secrets masked."""

from __future__ import annotations

from runtime.structs import from_struct, to_struct
from scheduler.queue.payload import masked
from scheduler.queue.presenter import CALLBACK_STATES, STATES, from_milliseconds, to_event, to_task
from scheduler.queue.record import TaskRecord
from scheduler.queue.workflow_store import StoredWorkflow
from yivideo.task.v1 import task_pb2, workflow_pb2

State = task_pb2.TaskState

MOST_BYTES = 3 * 1024 * 1024
"""Of inputs and outputs in one answer; of the tasks behind them they are left out."""


def to_workflow(stored: StoredWorkflow, *, brief: bool = False) -> workflow_pb2.Workflow:
    """Return the workflow as clients see it; `brief` leaves out inputs and outputs, as listings do."""
    workflow = workflow_pb2.Workflow(spec=stored.spec)
    for task in workflow.spec.tasks:
        if brief:
            task.spec.ClearField("input")
        elif task.spec.HasField("input"):
            task.spec.input.CopyFrom(to_struct(masked(from_struct(task.spec.input))))
    size = 0
    for one in stored.tasks:
        size += len(one.spec) + len(one.result) + len(one.resolved_input)
        workflow.tasks.append(to_task(one, brief=brief or size > MOST_BYTES))
    records = [one.record for one in stored.tasks]
    workflow.update_time.CopyFrom(from_milliseconds(max((one.updated_ms for one in records), default=0)))
    if stored.record is None:
        workflow.state = _shared_state(records)
        workflow.create_time.CopyFrom(from_milliseconds(min(one.created_us for one in records) // 1000))
        return workflow
    record = stored.record
    begun = any(one.attempt or one.ended for one in records)
    workflow.state = (
        State.TASK_STATE_PENDING if record.state == "running" and not begun else STATES[record.state]
    )
    workflow.create_time.CopyFrom(from_milliseconds(record.created_us // 1000))
    workflow.callback_status = CALLBACK_STATES[record.callback_state]
    workflow.last_sequence = record.last_sequence
    workflow.cancel_reason = record.cancel_reason
    workflow.update_time.FromMilliseconds(max(record.updated_ms, workflow.update_time.ToMilliseconds()))
    if record.ended:
        workflow.end_time.FromMilliseconds(record.end_ms)
        workflow.expire_time.FromMilliseconds(record.expire_ms)
    return workflow


def _shared_state(records: list[TaskRecord]) -> State.ValueType:
    """The state of tasks that merely share an id."""
    states = {one.state for one in records}
    if not all(one.ended for one in records):
        begun = any(one.attempt or one.ended for one in records)
        return State.TASK_STATE_RUNNING if begun else State.TASK_STATE_PENDING
    for word in ("failed", "cancelled"):
        if word in states:
            return STATES[word]
    return State.TASK_STATE_COMPLETED


def to_workflow_event(
    workflow_id: str, sequence: int, attempt: int, time_ms: int, body: bytes
) -> workflow_pb2.WorkflowEvent:
    """Return a stored event with its place in the workflow's history.

    A line comes before the event: of a task's event `<task id> <sequence>`, else nothing; then behind it are a name and a detail.
    """
    event = workflow_pb2.WorkflowEvent(
        workflow_id=workflow_id, sequence=sequence, time=from_milliseconds(time_ms)
    )
    head, _, rest = body.partition(b"\n")
    if head:
        task_id, _, own = head.decode().partition(" ")
        event.task_event.CopyFrom(to_event(task_id, int(own), attempt, time_ms, rest))
        return event
    name, _, detail = rest.decode().partition(" ")
    match name:
        case "accepted":
            event.accepted.task_count = int(detail)
        case "cancelling":
            event.cancelling.reason = detail
        case "retrying":
            event.retrying.SetInParent()
        case "ended":
            event.ended.state = STATES[detail]
    return event
