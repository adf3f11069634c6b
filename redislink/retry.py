"""Repeats an idempotent attempt while Redis restarts or fails over, for a bounded time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis's own class is the one meant everywhere below
    ReadOnlyError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from runtime.backoff import Backoff
from runtime.errors import Unavailable
from runtime.logs import get_logger
from runtime.seldom import Seldom

log = get_logger(__name__)
seldom = Seldom(log)

T = TypeVar("T")

TRANSIENT_ERRORS = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, TryAgainError, OSError)
"""What a restart or a failover of Redis looks like; all of it passes."""

_FIRST_WAIT_SECONDS = 0.02
_LONGEST_WAIT_SECONDS = 1.0


async def retry(
    attempt: Callable[[], Awaitable[T]], retry_seconds: float, what: str, *, setting: str = ""
) -> T:
    """Repeat an idempotent attempt while Redis is away. Raises Unavailable, naming `what`, after `retry_seconds`.

    `setting`: the name of the one that says where this Redis is, for whoever reads the log.
    """
    give_up = time.monotonic() + retry_seconds
    backoff = Backoff(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
    cancelled = _Cancellation()
    while True:
        try:
            answer = await attempt()
            cancelled.check()
            return answer
        except TRANSIENT_ERRORS as error:
            cancelled.check()
            if time.monotonic() + backoff.next_seconds >= give_up:
                raise Unavailable(
                    f"{what} {_trouble(error)}", retry_after_seconds=_LONGEST_WAIT_SECONDS
                ) from error
            seldom.warning("redis does not answer; trying again", setting=setting, reason=in_words(error))
        await asyncio.sleep(backoff.take() * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def in_words(error: BaseException) -> str:
    """Return what is said of an error: its own text, which names no secret, or its kind where it has none."""
    return str(error) or type(error).__name__


def _trouble(error: Exception) -> str:
    if str(error).startswith("NOREPLICAS"):
        return "takes no writes: it has fewer replicas than its min-replicas-to-write"
    return "cannot be reached"


class _Cancellation:
    """Notices that the current task was cancelled while the client library dealt with its connection and let that pass.

    Seen with redis-py 8.1.0: a cancel during the first connect or a pool wait does not always come out; without this a background
    task goes on for ever and the process never ends.
    """

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0

    def check(self) -> None:
        """Raise what was swallowed."""
        if self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError
