"""What can be wrong with a request about speakers, each with a stable code."""

from __future__ import annotations

from enum import StrEnum

from runtime.fault import Fault


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


class DiarizationFault(Fault[FaultCode]):
    """One thing that is wrong with a request about speakers."""
