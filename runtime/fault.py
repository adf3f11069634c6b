"""What is wrong with an input or with the work on it, said by code that knows no task and no call, and loads neither."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar

CodeT = TypeVar("CodeT", bound=StrEnum)


class Fault(Exception, Generic[CodeT]):
    """One thing that is wrong. A node that lets it pass fails its task with it.

    `code` is stable and in capitals (`MEDIA_UNREADABLE`), `message` English for whoever sent the task, `field` the JSON pointer of
    the input field at fault, `retryable` whether the same input may succeed later. A room has its own class, with its own codes.
    """

    def __init__(self, code: CodeT, message: str, field: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retryable = retryable

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return type(self), (self.code, self.message, self.field, self.retryable)
