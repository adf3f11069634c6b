"""What can be wrong with subtitles or with a request about them, each with a stable code.

The working modules raise `SubtitleFault` and know nothing of tasks; one that passes the task's function is its failure.
"""

from __future__ import annotations

from enum import StrEnum

from runtime.fault import Fault


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    NO_DATA_SOURCE = "NO_DATA_SOURCE"
    """The request names no segments, neither a file nor inline."""
    SUBTITLE_UNREADABLE = "SUBTITLE_UNREADABLE"
    """The file is in no form that is known here, or in another encoding than was said."""
    SUBTITLE_EMPTY = "SUBTITLE_EMPTY"
    """The file is readable and nothing is said in it."""
    SPEAKERS_UNREADABLE = "SPEAKERS_UNREADABLE"
    """The file of speakers is no diarization result."""
    SPEAKERS_EMPTY = "SPEAKERS_EMPTY"
    """Nobody speaks in it."""
    NO_WORD_TIMES = "NO_WORD_TIMES"
    """The rule that was asked for works on words, and the transcript has no word with a time."""
    ALIGNMENT_TOO_WEAK = "ALIGNMENT_TOO_WEAK"
    """The corrected text has too little in common with the transcript to take its times."""
    NO_TIMES = "NO_TIMES"
    """A timed form was asked for, and the text has no times."""
    CONTAINER_UNFIT = "CONTAINER_UNFIT"
    """The film's picture or sound cannot be copied into the container that was asked for."""
    TOO_MANY_CUES = "TOO_MANY_CUES"
    """More cues than can be moved to speech as far as was asked for."""
    UNKNOWN_QUERY = "UNKNOWN_QUERY"
    """The JMESPath expression is none, or finds nothing of use."""


class SubtitleFault(Fault[FaultCode]):
    """One thing that is wrong with subtitles or a request about them."""
