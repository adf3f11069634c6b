"""What can be wrong with a request about speakers, each with a stable code; `node.py` turns it into the task's failure."""

from __future__ import annotations

from enum import StrEnum


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    DIARIZATION_UNREADABLE = "DIARIZATION_UNREADABLE"
    """The file is neither a diarization result of YiVideo nor RTTM."""
    DIARIZATION_FAILED = "DIARIZATION_FAILED"
    """The file is the record of a diarization that failed."""
    TRANSCRIPT_UNREADABLE = "TRANSCRIPT_UNREADABLE"
    """The file is no transcript with segments."""
    REFERENCE_AMBIGUOUS = "REFERENCE_AMBIGUOUS"
    """The RTTM has turns of several recordings, and none of them is named."""


class DiarizationFault(Exception):
    """One thing that is wrong; `field` is the JSON pointer of the input field at fault."""

    def __init__(self, code: FaultCode, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field

    def __reduce__(self) -> tuple[type[DiarizationFault], tuple[FaultCode, str, str]]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return DiarizationFault, (self.code, self.message, self.field)
