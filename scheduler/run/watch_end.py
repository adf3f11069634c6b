"""What it means that a watch is over without the attempt's own end. Status codes decide, never reasons: a node may send none.

    asked to start        asked to attach        the node's status
    not started           still out of reach     RESOURCE_EXHAUSTED, UNAVAILABLE
    lost                  gone                   NOT_FOUND (to a start: as any other status)
    gone                  gone                   ABORTED: a newer attempt is there, or the start came too late
    the task fails        the task fails         INVALID_ARGUMENT, ALREADY_EXISTS, FAILED_PRECONDITION, UNIMPLEMENTED
    the task fails        the task fails         OK without the attempt's end, or what cannot be read
    attached to again     attached to again      any other status, and a stream that broke

What is attached to again and not found there is gone; who is not reached at all is waited for (`scheduler.run.node_loss`).
"""

from __future__ import annotations

from enum import Enum

from runtime import errors
from scheduler.run.node_stream import StreamEnd


class Meaning(Enum):
    """What follows."""

    NOT_STARTED = "the task goes back to its place, uncounted"
    GONE = "the attempt is lost"
    REFUSED = "the task fails: the same request would be refused again"
    UNUSABLE = "the task fails: what the node says cannot be stored"
    BROKEN = "the attempt is attached to again"


# What a node answers that no repetition of the same call would change.
_REFUSALS = (
    errors.InvalidArgument,
    errors.Unimplemented,
    errors.TaskConflict,
    errors.FileExists,
    errors.WrongState,
)


def meaning(end: StreamEnd, *, attach_only: bool) -> tuple[Meaning, errors.YiVideoError]:
    """Return what a watch's end means, with the error to tell."""
    error = end.error or errors.NodeMessageInvalid(
        "the node closed the watch and said nothing of the attempt's end"
    )
    if not end.by_node:
        return Meaning.BROKEN, error
    match error:
        case errors.NodeMessageInvalid():
            return Meaning.UNUSABLE, error
        case errors.ResourceExhausted() | errors.Unavailable() if not (attach_only or end.begun):
            return Meaning.NOT_STARTED, error
        case errors.NotFound() if attach_only:
            return Meaning.GONE, error
        case errors.StaleFence():
            return Meaning.GONE, error
        case errors.YiVideoError() if isinstance(error, _REFUSALS):
            return Meaning.REFUSED, error
    return Meaning.BROKEN, error
