"""Progress: any number of reports, at most four events a second; the percentage never falls, the last report is never lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from runtime.errors import InvalidArgument
from runtime.logs import get_logger
from runtime.rpc_errors import clip
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

INTERVAL_SECONDS = 0.25
_MAX_TEXT_BYTES = 500
_MAX_STAGE_BYTES = 64
_MAX_DATA_BYTES = 4096


class Timer(Protocol):
    """What `call_later` gives back."""

    def cancel(self) -> None:
        """Forget the call."""


class ProgressReporter:
    """Coalesces the reports of one attempt. The clock and the timer are passed in."""

    def __init__(
        self,
        emit: Callable[[task_pb2.Progress], None],
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._call_later = call_later
        self._interval_seconds = interval_seconds
        self._highest = 0.0
        self._next_time = -math.inf
        self._pending: tuple[str, str, dict[str, Any] | None] | None = None
        self._timer: Timer | None = None

    def report(self, percent: float, stage: str, message: str, data: dict[str, Any] | None) -> None:
        """Note how far the attempt is. Values outside 0 to 100 are cut; NaN counts as no news."""
        if not math.isnan(percent):
            self._highest = max(self._highest, min(100.0, max(0.0, percent)))
        self._pending = (stage, message, data)
        wait = self._next_time - self._clock()
        if wait <= 0:
            self.flush()
        elif self._timer is None:
            self._timer = self._call_later(wait, self.flush)

    def flush(self) -> None:
        """Send what waits, at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending is None:
            return
        stage, message, data = self._pending
        self._pending = None
        self._next_time = self._clock() + self._interval_seconds
        progress = task_pb2.Progress(
            percent=round(self._highest, 3),
            stage=clip(stage, _MAX_STAGE_BYTES),
            message=clip(message, _MAX_TEXT_BYTES),
        )
        _attach(progress, data)
        self._emit(progress)


def _attach(progress: task_pb2.Progress, data: dict[str, Any] | None) -> None:
    """Add the task's own figures; figures that do not fit are left out rather than failing a task that works."""
    if not data:
        return
    try:
        struct = to_struct(data)
    except InvalidArgument as error:
        log.warning("progress data left out", reason=error.message)
        return
    if struct.ByteSize() > _MAX_DATA_BYTES:
        log.warning("progress data left out", reason="more than 4 KiB", size_bytes=struct.ByteSize())
        return
    progress.data.CopyFrom(struct)
