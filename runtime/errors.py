"""The one error tree of YiVideo, and the two tables that carry it over gRPC and HTTP.

    YiVideoError
    ├── InvalidArgument          400  the request itself is malformed
    │   ├── UnknownTaskType      400
    │   ├── PathRefused          400  traversal, absolute path, symlink escape
    │   ├── AddressRefused       400  a URL this installation will not call
    │   ├── BadReference         400  `${{ … }}` in an input that means nothing
    │   ├── InvalidInput         422  the input does not fit the task's JSON Schema
    │   └── PayloadTooLarge      413
    ├── Unauthenticated          401
    ├── PermissionDenied         403
    ├── NotFound                 404
    │   ├── TaskNotFound
    │   ├── WorkflowNotFound
    │   └── FileNotFound
    ├── TaskConflict             409  same task_id, other payload
    ├── StaleFence               409  an attempt that is no longer the owner
    ├── FileExists               409
    ├── WrongState               400  the task's state does not allow this
    ├── NotConfigured            409  the task's node lacks what it needs, for example a language model
    ├── NodeUnavailable          409  nobody offers the task's type now, and the client will not wait
    ├── RangeRefused             416
    ├── ResourceExhausted        429
    │   ├── TooManyTasks         429
    │   ├── QuotaExceeded        507
    │   │   └── DiskFull         507
    │   └── NoFreeSlot           503  a node replica is full; try another
    ├── Unavailable              503
    │   └── Draining             503
    ├── DeadlineExceeded         504
    │   └── RequestTimeout       408
    ├── Cancelled                499
    ├── Unimplemented            501
    └── Internal                 500
        ├── DataLoss             500
        └── NodeMessageInvalid   500  a node said what the contract does not allow
            └── OutputTooLarge   500

Every class has a stable `code`, one gRPC status and one HTTP status. Over gRPC the code travels as
`google.rpc.ErrorInfo.reason` (see `runtime.rpc_errors`), so a client rebuilds the same class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import grpc

DOMAIN = "yivideo"
"""The `domain` of every ErrorInfo this project sends."""


@dataclass(frozen=True)
class FieldViolation:
    """One field that was refused: a JSON pointer into the request, and why."""

    pointer: str
    detail: str


class YiVideoError(Exception):
    """An error with a stable code; `str(error)` is English text for the developer who called."""

    code: ClassVar[str] = "INTERNAL"
    grpc_status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without being changed."""
    is_from_peer = False
    """Whether another process's words made it: they are for that process's callers, not for a client of ours."""

    def __init__(
        self,
        message: str,
        *,
        fields: Iterable[FieldViolation] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fields = tuple(fields)
        self.retry_after_seconds = retry_after_seconds


class InvalidArgument(YiVideoError):
    """The request is malformed; `fields` names what."""

    code = "INVALID_ARGUMENT"
    grpc_status = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 400

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidArgument:
        """Refuse one field by its JSON pointer."""
        return cls(f"{pointer}: {detail}", fields=[FieldViolation(pointer, detail)])


class UnknownTaskType(InvalidArgument):
    """No node has ever offered this task name."""

    code = "UNKNOWN_TASK_TYPE"


class PathRefused(InvalidArgument):
    """A path with `..`, an absolute path outside the allowed roots, or a link that leaves them."""

    code = "PATH_REFUSED"


class AddressRefused(InvalidArgument):
    """A URL whose scheme or resolved address this installation does not call."""

    code = "ADDRESS_REFUSED"


class BadReference(InvalidArgument):
    """A reference in an input that is not one, or to a task, stage or output field that is not there."""

    code = "BAD_REFERENCE"


class InvalidInput(InvalidArgument):
    """The task's input does not fit its JSON Schema."""

    code = "INVALID_INPUT"
    http_status = 422


class PayloadTooLarge(InvalidArgument):
    """More bytes than the limit that the message names."""

    code = "PAYLOAD_TOO_LARGE"
    http_status = 413


class Unauthenticated(YiVideoError):
    """No credential, or one that is wrong, expired or revoked."""

    code = "UNAUTHENTICATED"
    grpc_status = grpc.StatusCode.UNAUTHENTICATED
    http_status = 401


class PermissionDenied(YiVideoError):
    """The credential is good but does not allow this."""

    code = "PERMISSION_DENIED"
    grpc_status = grpc.StatusCode.PERMISSION_DENIED
    http_status = 403


class NotFound(YiVideoError):
    """What the request names does not exist, or belongs to somebody else."""

    code = "NOT_FOUND"
    grpc_status = grpc.StatusCode.NOT_FOUND
    http_status = 404


class TaskNotFound(NotFound):
    """No task with this id, or its record has expired."""

    code = "TASK_NOT_FOUND"


class WorkflowNotFound(NotFound):
    """No such workflow, or its record has expired."""

    code = "WORKFLOW_NOT_FOUND"


class FileNotFound(NotFound):
    """No object at this bucket and path."""

    code = "FILE_NOT_FOUND"


class TaskConflict(YiVideoError):
    """The task_id is taken by a task with another payload."""

    code = "TASK_CONFLICT"
    grpc_status = grpc.StatusCode.ALREADY_EXISTS
    http_status = 409


class FileExists(YiVideoError):
    """The object exists and the caller asked not to overwrite it."""

    code = "FILE_EXISTS"
    grpc_status = grpc.StatusCode.ALREADY_EXISTS
    http_status = 409


class StaleFence(YiVideoError):
    """The attempt that speaks is no longer the task's owner; its work has no effect."""

    code = "STALE_FENCE"
    grpc_status = grpc.StatusCode.ABORTED
    http_status = 409


class WrongState(YiVideoError):
    """The task's state does not allow this (for example: cancelling an ended task)."""

    code = "WRONG_STATE"
    grpc_status = grpc.StatusCode.FAILED_PRECONDITION
    http_status = 400


class NotConfigured(YiVideoError):
    """The node of this task type lacks what the task needs; the message says which settings bring it."""

    code = "NOT_CONFIGURED"
    grpc_status = grpc.StatusCode.FAILED_PRECONDITION
    http_status = 409


class NodeUnavailable(YiVideoError):
    """No node replica offers the task's type now, and the client or the installation will not have it wait."""

    code = "NODE_UNAVAILABLE"
    grpc_status = grpc.StatusCode.FAILED_PRECONDITION
    http_status = 409
    retryable = True


class RangeRefused(YiVideoError):
    """The byte range lies outside the file."""

    code = "RANGE_REFUSED"
    grpc_status = grpc.StatusCode.OUT_OF_RANGE
    http_status = 416


class ResourceExhausted(YiVideoError):
    """A limit is reached; `retry_after_seconds` says when to come back."""

    code = "RESOURCE_EXHAUSTED"
    grpc_status = grpc.StatusCode.RESOURCE_EXHAUSTED
    http_status = 429
    retryable = True


class TooManyTasks(ResourceExhausted):
    """The user, or the installation, has `max_queued` tasks already."""

    code = "TOO_MANY_TASKS"


class QuotaExceeded(ResourceExhausted):
    """The store holds as many bytes as it may; waiting does not help, deleting does."""

    code = "QUOTA_EXCEEDED"
    http_status = 507
    retryable = False


class DiskFull(QuotaExceeded):
    """The disk of the store is full."""

    code = "DISK_FULL"


class NoFreeSlot(ResourceExhausted):
    """This node replica has no free slot; another may have one."""

    code = "NO_FREE_SLOT"
    http_status = 503


class Unavailable(YiVideoError):
    """A part that is needed cannot be reached now."""

    code = "UNAVAILABLE"
    grpc_status = grpc.StatusCode.UNAVAILABLE
    http_status = 503
    retryable = True


class Draining(Unavailable):
    """This process is shutting down and takes nothing new."""

    code = "DRAINING"


class DeadlineExceeded(YiVideoError):
    """The call's or the task's deadline has passed."""

    code = "DEADLINE_EXCEEDED"
    grpc_status = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 504
    retryable = True


class RequestTimeout(DeadlineExceeded):
    """A client sends its request too slowly."""

    code = "REQUEST_TIMEOUT"
    http_status = 408


class Cancelled(YiVideoError):
    """The caller went away or cancelled."""

    code = "CANCELLED"
    grpc_status = grpc.StatusCode.CANCELLED
    http_status = 499


class Unimplemented(YiVideoError):
    """This server does not offer this call."""

    code = "UNIMPLEMENTED"
    grpc_status = grpc.StatusCode.UNIMPLEMENTED
    http_status = 501


class Internal(YiVideoError):
    """A fault of ours; the log line with the same request id has the traceback."""


class DataLoss(Internal):
    """Bytes arrived that do not match their checksum or size."""

    code = "DATA_LOSS"
    grpc_status = grpc.StatusCode.DATA_LOSS


class NodeMessageInvalid(Internal):
    """What a node said of an attempt breaks the contract and cannot be kept: it is unreadable, or past a limit."""

    code = "NODE_MESSAGE_INVALID"


class OutputTooLarge(NodeMessageInvalid):
    """A task's output has more bytes than an output may have; it should store a file."""

    code = "OUTPUT_TOO_LARGE"


def _classes(root: type[YiVideoError]) -> Iterable[type[YiVideoError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


def class_by_code() -> dict[str, type[YiVideoError]]:
    """Return every error class by its code (Internal stands for the root's code); one that only inherits a code stands for none."""
    own = [kind for kind in _classes(YiVideoError) if "code" in vars(kind)]
    kinds: list[type[YiVideoError]] = [*own, Internal]
    return {kind.code: kind for kind in kinds}


_BY_STATUS: dict[grpc.StatusCode, type[YiVideoError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: TaskConflict,
    grpc.StatusCode.ABORTED: StaleFence,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.OUT_OF_RANGE: RangeRefused,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.DATA_LOSS: DataLoss,
}


def class_by_status(status: grpc.StatusCode) -> type[YiVideoError]:
    """Return the class that stands for a bare gRPC status, for peers that send no ErrorInfo."""
    return _BY_STATUS.get(status, Internal)
