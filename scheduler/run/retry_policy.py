"""When a failed attempt is tried again, and after how long."""

from __future__ import annotations

from yivideo.task.v1 import task_pb2

DEFAULT_INITIAL_SECONDS = 1.0
DEFAULT_FACTOR = 2.0
DEFAULT_LONGEST_SECONDS = 300.0


def next_delay_seconds(
    policy: task_pb2.RetryPolicy, error: task_pb2.TaskError, attempts_made: int
) -> float | None:
    """Return the wait before the next attempt, None when there is none.

    `attempts_made` counts the one that just failed and leaves out those whose node was lost.
    """
    if attempts_made >= max(1, policy.max_attempts):
        return None
    codes = policy.retryable_codes
    if error.code not in codes if codes else not error.retryable:
        return None
    first = policy.initial_delay_seconds or DEFAULT_INITIAL_SECONDS
    factor = policy.backoff_factor or DEFAULT_FACTOR
    longest = policy.max_delay_seconds or DEFAULT_LONGEST_SECONDS
    delay: float = min(longest, first * factor ** (attempts_made - 1))
    return delay
