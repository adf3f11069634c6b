"""A task's states: which of them are the end, and the words that clients read for them.

`status` is one of the first YiVideo's five words, `state` the exact state: a blocked task is still pending, a cancelling one
still running, a skipped one completed.
"""

from __future__ import annotations

from functools import cache

from yivideo.task.v1 import task_pb2

State = task_pb2.TaskState

STATUS = {
    State.TASK_STATE_PENDING: "pending",
    State.TASK_STATE_BLOCKED: "pending",
    State.TASK_STATE_RUNNING: "running",
    State.TASK_STATE_CANCELLING: "running",
    State.TASK_STATE_COMPLETED: "completed",
    State.TASK_STATE_FAILED: "failed",
    State.TASK_STATE_CANCELLED: "cancelled",
    State.TASK_STATE_SKIPPED: "completed",
}

RESULT_STATUS = {
    State.TASK_STATE_COMPLETED: "SUCCESS",
    State.TASK_STATE_FAILED: "FAILED",
    State.TASK_STATE_CANCELLED: "CANCELLED",
    State.TASK_STATE_SKIPPED: "SKIPPED",
}
"""The single node result's own word; a state that is not here has no result yet."""

TERMINAL = frozenset(RESULT_STATUS)
"""The states that a task never leaves by itself."""

TERMINAL_EVENTS = frozenset({"completed", "failed", "cancelled"})
"""The events that end a task, by their name in `TaskEvent.event`; a skipped task ends with `completed`."""


@cache
def state_word(state: task_pb2.TaskState.ValueType) -> str:
    """Return `running` for TASK_STATE_RUNNING."""
    return State.Name(state).removeprefix("TASK_STATE_").lower()


TERMINAL_STATES = frozenset(state_word(state) for state in TERMINAL)
"""The same as words, as the scheduler's records hold them."""


def is_terminal(event: task_pb2.TaskEvent) -> bool:
    """Whether an event ends its task."""
    return event.WhichOneof("event") in TERMINAL_EVENTS
