"""What a client raises. Every error that the server told carries its stable code.

ClientError
├── ConnectionFailed      nothing was heard of the server, for as long as the client tries
├── WaitTimeout           the task had not ended in the time that the caller gave; it goes on
├── IntegrityError        what arrived is not what the server says it sent
├── UnexpectedAnswer      what answers is no gateway, or one of another time
├── TaskFailed            the task ended as failed
├── TaskCancelled         the task ended as cancelled
├── WorkflowFailed        the workflow ended as failed
├── WorkflowCancelled     the workflow ended as cancelled
└── ApiError              the server refused a request
    ├── InvalidRequest    400, 413, 416, 422
    ├── Unauthenticated   401
    ├── PermissionDenied  403
    ├── NotFound          404
    ├── Conflict          409
    ├── TooManyRequests   429
    └── ServerError       5xx
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yivideo_client.models import Task
    from yivideo_client.workflow_models import Workflow


class ClientError(Exception):
    """Anything that this package raises on purpose."""


class ConnectionFailed(ClientError):
    """The server could not be reached, or stopped in the middle of an answer, each time it was tried."""

    def __init__(self, message: str, address: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.address = address
        self.advice = advice
        """What may be done about it, where that is plain; else empty."""


class WaitTimeout(ClientError):
    """The task had not ended in time. It was not cancelled."""


class IntegrityError(ClientError):
    """A file's bytes do not have the size or the SHA-256 that the server gives for it."""


class UnexpectedAnswer(ClientError):
    """An answer that counts as good and is not what a gateway says: it is another server, or of another version."""


class TaskFailed(ClientError):
    """The task ended as failed; `code` is its stable error code."""

    def __init__(self, task: Task) -> None:
        error = task.error
        self.task = task
        self.code = error.code if error else "UNKNOWN"
        self.field = error.field if error else ""
        super().__init__(f"{task.task_id} failed: {self.code}: {error.message if error else task.message}")


class TaskCancelled(ClientError):
    """The task ended as cancelled."""

    def __init__(self, task: Task) -> None:
        self.task = task
        super().__init__(f"{task.task_id} was cancelled")


class WorkflowFailed(ClientError):
    """The workflow ended as failed; `code` is the stable code of the first of its tasks that failed of itself."""

    def __init__(self, workflow: Workflow) -> None:
        failed = [task.error for task in workflow.tasks if task.error]
        own = [error for error in failed if error.code != "DEPENDENCY_FAILED"] or failed
        self.workflow = workflow
        self.code = own[0].code if own else "UNKNOWN"
        super().__init__(f"{workflow.workflow_id} failed: {workflow.error or self.code}")


class WorkflowCancelled(ClientError):
    """The workflow ended as cancelled."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        super().__init__(f"{workflow.workflow_id} was cancelled")


@dataclass(frozen=True)
class FieldFault:
    """One field of a request that was refused."""

    pointer: str
    """JSON pointer into the body, or `?name` of a query parameter."""
    detail: str
    """Why."""


class ApiError(ClientError):
    """The server answered with an error (RFC 9457)."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        request_id: str = "",
        fields: Sequence[FieldFault] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id
        self.fields = tuple(fields)
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(ApiError):
    """The request itself is at fault; `fields` names where."""


class Unauthenticated(ApiError):
    """There is no key, or the server does not know it."""


class PermissionDenied(ApiError):
    """The key may not do this."""


class NotFound(ApiError):
    """What was named is not there, or is not this key's."""


class Conflict(ApiError):
    """It exists already, with another content."""


class TooManyRequests(ApiError):
    """A limit or quota is reached; `retry_after_seconds` says when to come back, where that is known."""


class ServerError(ApiError):
    """The server's own trouble."""


_CLASSES: Mapping[int, type[ApiError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    429: TooManyRequests,
}


_UNTOLD: Mapping[int, str] = {
    401: "there is no key, or one that the server does not know",
    403: "the key may not do this",
    404: "it is not there, or is not this key's",
    429: "too many requests",
}
"""What an answer without a body means, as HEAD is answered."""


def api_error(status: int, body: object, retry_after_seconds: float | None = None) -> ApiError:
    """Make the error of an answer; `body` is its parsed JSON, or anything else where a proxy answered."""
    problem: Mapping[str, Any] = body if isinstance(body, dict) else {}
    kind = _CLASSES.get(status, ServerError if status >= 500 else InvalidRequest)
    faults = problem.get("errors")
    fields = [
        FieldFault(str(one.get("pointer", "")), str(one.get("detail", "")))
        for one in (faults if isinstance(faults, list) else [])
        if isinstance(one, dict)
    ]
    return kind(
        status,
        str(problem.get("code") or f"HTTP_{status}"),
        str(problem.get("detail") or _UNTOLD.get(status, "the server gave no reason")),
        request_id=str(problem.get("request_id", "")),
        fields=fields,
        retry_after_seconds=retry_after_seconds,
    )
