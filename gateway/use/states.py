"""The words for where a task is, besides those of `results.states`: what a client may filter by, and sentences for people."""

from __future__ import annotations

from results.states import STATUS, TERMINAL, State, state_word
from yivideo.task.v1 import task_pb2

__all__ = ["STATUS", "TERMINAL", "WORDS", "State", "callback_status", "message", "state_word", "states_of"]

_MESSAGES = {
    State.TASK_STATE_PENDING: "The task waits for its turn.",
    State.TASK_STATE_BLOCKED: "The task waits for other tasks.",
    State.TASK_STATE_RUNNING: "The task is running.",
    State.TASK_STATE_CANCELLING: "The task is being stopped.",
    State.TASK_STATE_COMPLETED: "The task has completed.",
    State.TASK_STATE_FAILED: "The task has failed.",
    State.TASK_STATE_CANCELLED: "The task was cancelled.",
    State.TASK_STATE_SKIPPED: "The task had nothing to do, as its input said.",
}

_CALLBACK = {
    task_pb2.CALLBACK_STATUS_PENDING: "pending",
    task_pb2.CALLBACK_STATUS_SENT: "sent",
    task_pb2.CALLBACK_STATUS_FAILED: "failed",
    task_pb2.CALLBACK_STATUS_INVALID_URL: "invalid_url",
}


WORDS = tuple(dict.fromkeys([*STATUS.values(), *(state_word(state) for state in STATUS)]))
"""What a client may filter by."""


def states_of(word: str) -> frozenset[task_pb2.TaskState.ValueType]:
    """Return the states that a status or state word stands for; none for an unknown word."""
    by_status = {state for state, status in STATUS.items() if status == word}
    return frozenset(by_status or {state for state in STATUS if state_word(state) == word})


def callback_status(status: task_pb2.CallbackStatus.ValueType) -> str | None:
    """Return the origin's word; None while there is nothing to say."""
    return _CALLBACK.get(status)


def message(task: task_pb2.Task) -> str:
    """Say where a task is, in one English sentence."""
    if task.state == State.TASK_STATE_FAILED and task.error.message:
        return task.error.message
    if task.state == State.TASK_STATE_RUNNING and task.progress.message:
        return task.progress.message
    if task.state not in TERMINAL and task.waiting_reason:
        return task.waiting_reason
    return _MESSAGES.get(task.state, "")
