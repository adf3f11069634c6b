"""TaskFailed: how a task function says that its task failed, and how any exception becomes a TaskError."""

from __future__ import annotations

import errno
import re
from typing import Any

from runtime import context as ids
from runtime.errors import YiVideoError
from runtime.fault import Fault
from runtime.rpc_errors import clip
from yivideo.task.v1 import task_pb2

_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
MAX_MESSAGE_BYTES = 2000


class TaskFailed(Exception):
    """The task failed for a reason that its caller should know.

    `code` is stable and in capitals (`MEDIA_UNREADABLE`), `message` English for the developer who called, `retryable` says
    whether the same input may succeed later, `field` is the JSON pointer of the input field at fault.
    """

    def __init__(self, code: str, message: str, retryable: bool = False, field: str = "") -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"error code {code!r} is not of the form MEDIA_UNREADABLE")
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return TaskFailed, (self.code, self.message, self.retryable, self.field)


def to_task_error(error: BaseException) -> task_pb2.TaskError:
    """Describe why a task failed. What is neither ours nor the author's is INTERNAL and does not show its text."""
    match error:
        case TaskFailed() | Fault():
            found = task_pb2.TaskError(
                code=error.code, message=error.message, retryable=error.retryable, field=error.field
            )
        case YiVideoError():
            field = error.fields[0].pointer.removeprefix("/input") if error.fields else ""
            found = task_pb2.TaskError(
                code=error.code, message=error.message, retryable=error.retryable, field=field
            )
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            found = task_pb2.TaskError(code="DISK_FULL", message="the node's disk is full", retryable=True)
        case _:
            request = ids.request_id.get() or "unknown"
            found = task_pb2.TaskError(
                code="INTERNAL", message=f"internal error in the node; request id {request}"
            )
    found.message = clip(found.message, MAX_MESSAGE_BYTES)
    return found


def is_expected(error: BaseException) -> bool:
    """Whether the error explains itself, so that its traceback would only be noise in the log."""
    return isinstance(error, TaskFailed | Fault | YiVideoError)
