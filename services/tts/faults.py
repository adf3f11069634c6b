"""What can be wrong with a text, a voice or the speech that came out, each with a stable code."""

from __future__ import annotations

from enum import StrEnum

from runtime.fault import Fault


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


class TtsFault(Fault[FaultCode]):
    """One thing that is wrong with a text, a voice or the speech that came out."""
