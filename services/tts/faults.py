"""What can be wrong with a text, a voice or the speech that came out, each with a stable code."""

from __future__ import annotations

from enum import StrEnum


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    INVALID_INPUT = "INVALID_INPUT"
    """The text has nothing that can be spoken, or is too long."""
    VOICE_UNKNOWN = "VOICE_UNKNOWN"
    """No engine here has a voice of that name."""
    LANGUAGE_UNSUPPORTED = "LANGUAGE_UNSUPPORTED"
    """No voice here speaks the language."""
    REFERENCE_UNUSABLE = "REFERENCE_UNUSABLE"
    """The recording of the voice to speak with cannot be used, or no engine that could is configured."""
    ENGINE_UNREACHABLE = "ENGINE_UNREACHABLE"
    """The speech server does not answer."""
    ENGINE_REFUSED = "ENGINE_REFUSED"
    """The speech server answered with an error."""
    PROCESSING_ERROR = "PROCESSING_ERROR"
    """The engine or ffmpeg failed."""
    SPEECH_DIFFERS = "SPEECH_DIFFERS"
    """`verify`: what was heard is not the text; it was cut off, repeated or garbled."""


class TtsFault(Exception):
    """One thing that is wrong; `field` is the JSON pointer of the input field at fault."""

    def __init__(self, code: FaultCode, message: str, field: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retryable = retryable

    def __reduce__(self) -> tuple[type[TtsFault], tuple[FaultCode, str, str, bool]]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return TtsFault, (self.code, self.message, self.field, self.retryable)
