"""What can be wrong with a call to a language model, each with a stable code. Nodes turn it into the task's failure."""

from __future__ import annotations

from enum import StrEnum


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    """No model is configured, or not the provider that was asked for; the message says which settings to make."""
    MODEL_UNREACHABLE = "MODEL_UNREACHABLE"
    """The model's server cannot be reached, breaks off, or answers with its own failure, again and again."""
    MODEL_TIMEOUT = "MODEL_TIMEOUT"
    """The whole answer, or the next piece of it, did not come in time."""
    MODEL_RATE_LIMITED = "MODEL_RATE_LIMITED"
    """The provider says that there are too many requests, for longer than this call may wait."""
    MODEL_REFUSED = "MODEL_REFUSED"
    """The provider refuses the request: an unknown model, a text that is too long, its own rules."""
    MODEL_UNAUTHORIZED = "MODEL_UNAUTHORIZED"
    """The provider does not accept the key."""
    ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"
    """More bytes than an answer may have; the call was cut."""
    ANSWER_UNREADABLE = "ANSWER_UNREADABLE"
    """What came is not in the OpenAI form."""
    ANSWER_INVALID = "ANSWER_INVALID"
    """What the model says is no JSON, or does not fit the schema, after every repair."""
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    """The user has no tokens left today, or no request within the time that the call may wait."""


RETRYABLE = frozenset(
    {
        FaultCode.MODEL_UNREACHABLE,
        FaultCode.MODEL_TIMEOUT,
        FaultCode.MODEL_RATE_LIMITED,
        FaultCode.ANSWER_UNREADABLE,
        FaultCode.ANSWER_INVALID,
    }
)
"""Faults after which the same call may succeed later."""


class ModelFault(Exception):
    """A call that came to nothing; `field` is the JSON pointer of the input field at fault, if one is."""

    def __init__(self, code: FaultCode, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in RETRYABLE

    def __reduce__(self) -> tuple[type[ModelFault], tuple[FaultCode, str, str]]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return ModelFault, (self.code, self.message, self.field)
