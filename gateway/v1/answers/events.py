"""One event of a task: the same object in a stream's `data:`, in a page of events and in the feed over many tasks.

Every event has the fields of `_Event`; one that moves the task also says where it is now (`status`, `state`). A failure is told as
in the task's result: `error` is text, `error_detail` has its code.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from gateway.http.model import Answer
from gateway.v1.answers.tasks import ErrorDetail, MinioFile, ProgressInfo, TaskStatus


class _Event(Answer):
    task_id: str
    """The task."""
    attempt: int
    """Attempt that it belongs to; 0: before the first."""
    sequence: int
    """Place in the task's history, from 1; 0: not stored, and not to be resumed after."""
    time: datetime
    """When it happened."""


class _Moved(_Event):
    status: str
    """pending, running, completed, failed or cancelled: where the task is from now on."""
    state: str
    """The exact state: also blocked (pending), cancelling (running) and skipped (completed)."""


class _Failure(_Moved):
    error: str
    """Why, as text: `CODE: message`."""
    error_detail: ErrorDetail
    """The same with its code."""


class AcceptedEvent(_Moved):
    """The task was accepted; the first event of each."""

    event: Literal["accepted"]
    """Names the kind of event."""


class StartedEvent(_Moved):
    """An attempt began."""

    event: Literal["started"]
    """Names the kind of event."""
    node: str
    """The node."""
    replica: str
    """Which replica of it."""


class ProgressEvent(ProgressInfo, _Event):
    """The attempt got further; at most four a second."""

    event: Literal["progress"]
    """Names the kind of event."""


class LogEvent(_Event):
    """A line for people."""

    event: Literal["log"]
    """Names the kind of event."""
    level: str
    """debug, info, warning or error."""
    message: str
    """English text."""


class HeartbeatEvent(_Event):
    """The attempt is alive; not stored."""

    event: Literal["heartbeat"]
    """Names the kind of event."""


class WaitingForGpuEvent(_Event):
    """The attempt waits for a GPU."""

    event: Literal["waiting_for_gpu"]
    """Names the kind of event."""
    position: int
    """1: next; 0: unknown."""
    memory_mib: int
    """MiB it asked for; 0: the whole device."""


class RetryingEvent(_Failure):
    """The attempt ended and another will follow."""

    event: Literal["retrying"]
    """Names the kind of event."""
    next_time: datetime | None
    """When the next attempt may start; null: as soon as its node has a free slot."""


class CancellingEvent(_Moved):
    """The task was told to stop."""

    event: Literal["cancelling"]
    """Names the kind of event."""
    reason: str
    """Why; may be empty."""


class GapEvent(_Event):
    """Events between the position that was asked for and the next one are no longer kept; not stored."""

    event: Literal["gap"]
    """Names the kind of event."""
    first_missing_sequence: int
    """First sequence that is missing."""
    last_missing_sequence: int
    """Last sequence that is missing; 0: the position was none of this task's."""
    snapshot: TaskStatus
    """The task as it is now."""


class CompletedEvent(_Moved):
    """The task ended well. Terminal."""

    event: Literal["completed"]
    """Names the kind of event."""
    output: dict[str, Any]
    """The task's output."""
    minio_files: list[MinioFile]
    """Its stored outputs."""
    duration: float
    """Seconds that the attempt ran."""


class FailedEvent(_Failure):
    """The task ended badly. Terminal."""

    event: Literal["failed"]
    """Names the kind of event."""
    duration: float
    """Seconds that the attempt ran."""


class CancelledEvent(_Moved):
    """The task was stopped because somebody asked. Terminal."""

    event: Literal["cancelled"]
    """Names the kind of event."""
    reason: str
    """Why; may be empty."""
    duration: float
    """Seconds that the attempt ran; 0: it never did."""


AnyEvent = (
    AcceptedEvent
    | StartedEvent
    | ProgressEvent
    | LogEvent
    | HeartbeatEvent
    | WaitingForGpuEvent
    | RetryingEvent
    | CancellingEvent
    | GapEvent
    | CompletedEvent
    | FailedEvent
    | CancelledEvent
)


class TaskEvent(RootModel[Annotated[AnyEvent, Field(discriminator="event")]]):
    """One event of a task; `event` tells its kind."""


class EventPage(Answer):
    """A task's events after a position, for clients that ask again instead of keeping a stream open."""

    task_id: str
    """The task."""
    events: list[TaskEvent]
    """What an event stream carries as `data:`, oldest first; a `gap` where events are no longer kept."""
    last_sequence: int
    """Send this as `after` to get what follows."""
    ended: bool
    """Whether nothing will follow."""
