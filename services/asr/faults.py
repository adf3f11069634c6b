"""What can be wrong with a recording or with a request about it, each with a stable code.

The working modules raise `SpeechFault` and know nothing of tasks; one that passes the task's function is its failure. What can be
wrong with the file itself is in `media.faults`.
"""

from __future__ import annotations

from enum import StrEnum

from runtime.fault import Fault


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    RANGE_OUTSIDE_MEDIA = "RANGE_OUTSIDE_MEDIA"
    """Every clip that was asked for lies behind the end of the recording."""
    LANGUAGE_UNSUPPORTED = "LANGUAGE_UNSUPPORTED"
    """The engine or model does not know the language that was asked for."""
    TRANSLATION_UNSUPPORTED = "TRANSLATION_UNSUPPORTED"
    """The engine or model cannot translate, or so badly from this language that it is not offered."""
    ENGINE_MISSING = "ENGINE_MISSING"
    """The engine's package is not installed on this node."""
    MODEL_UNUSABLE = "MODEL_UNUSABLE"
    """The folder of the model is there and the engine cannot load it."""
    MODEL_UNSUITABLE = "MODEL_UNSUITABLE"
    """The model is one for another engine."""
    DEVICE_UNAVAILABLE = "DEVICE_UNAVAILABLE"
    """A GPU was asked for where the engine finds none."""


class SpeechFault(Fault[FaultCode]):
    """One thing that is wrong with a recording or a request about it."""
