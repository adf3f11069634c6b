"""What can be wrong with a recording or a request about it, each with a stable code."""

from __future__ import annotations

from enum import StrEnum


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    MEDIA_UNREADABLE = "MEDIA_UNREADABLE"
    """No demuxer or decoder makes sense of the file, or it is empty."""
    NO_AUDIO_STREAM = "NO_AUDIO_STREAM"
    """The file has no sound."""
    AUDIO_TOO_LONG = "AUDIO_TOO_LONG"
    """The recording is longer than `asr.max_hours`."""
    RANGE_OUTSIDE_MEDIA = "RANGE_OUTSIDE_MEDIA"
    """Every clip lies behind the end of the recording."""
    LANGUAGE_UNSUPPORTED = "LANGUAGE_UNSUPPORTED"
    """The model does not know the language."""
    TRANSLATION_UNSUPPORTED = "TRANSLATION_UNSUPPORTED"
    """The model translates this language badly or not at all."""
    MODEL_UNUSABLE = "MODEL_UNUSABLE"
    """The model's folder cannot be loaded."""


class AsrFault(Exception):
    """One thing that is wrong; `field` is the JSON pointer of the input field at fault."""

    def __init__(self, code: FaultCode, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field

    def __reduce__(self) -> tuple[type[AsrFault], tuple[FaultCode, str, str]]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return AsrFault, (self.code, self.message, self.field)
