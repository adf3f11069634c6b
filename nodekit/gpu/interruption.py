"""Interruption: cancels the block of a lease when the lease is lost or taken back, and says afterwards why it ended.

It works as `asyncio.timeout` does: the task that entered the block is cancelled, and its CancelledError becomes a TaskFailed
when the block is left, unless somebody else has cancelled the task too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from nodekit.gpu.holding import Holding, Phase
from nodekit.gpu.lease import lost_failure, stopped_failure

_AGAIN_SECONDS = 1.0


class Interruption:
    """`with Interruption(holding, on_lost):` around the work of one lease. `on_lost` is called at once when it is lost."""

    def __init__(self, holding: Holding | None, on_lost: Callable[[], None]) -> None:
        self._holding = holding
        self._on_lost = on_lost
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._cancels = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        if self._holding is not None:
            self._holding.on_lost = self._lost
            self._holding.on_stop = self._cancel
            if self._holding.phase is Phase.LOST:
                self._lost()
            elif self._holding.stop is not None:
                self._cancel()
        return self

    def _lost(self) -> None:
        self._on_lost()
        self._cancel()

    def _cancel(self) -> None:
        task = self._task
        assert task is not None
        if task is asyncio.current_task():
            return  # it has found out by itself and is raising
        self._cancels += 1
        task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        # A block that swallows its cancellation is cancelled again: it must not go on without its devices.
        self._timer = asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._cancel)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        holding, task = self._holding, self._task
        if holding is None or task is None:
            return
        holding.on_stop = _nothing
        if self._timer is not None:
            self._timer.cancel()
        for _ in range(self._cancels):
            task.uncancel()
        if holding.overdue:
            holding.on_lost = self._on_lost
            holding.expire()
        holding.on_lost = _nothing
        cancelled_by_others = kind is asyncio.CancelledError and task.cancelling() > self._before
        if cancelled_by_others:
            return
        cause = None if isinstance(error, asyncio.CancelledError) else error
        if holding.phase is Phase.LOST:
            raise lost_failure(holding) from cause
        if holding.stop is not None and error is not None:
            raise stopped_failure(holding.stop) from cause


def _nothing() -> None:
    """Nobody listens."""
