"""What can be wrong with a film or a request about it, each with a stable code."""

from __future__ import annotations

from enum import StrEnum

from runtime.fault import Fault


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    MEDIA_UNREADABLE = "MEDIA_UNREADABLE"
    """No demuxer or decoder makes sense of the file, or it is empty."""
    MEDIA_FORMAT_REFUSED = "MEDIA_FORMAT_REFUSED"
    """A playlist or script, which could make ffmpeg read other files."""
    MEDIA_IS_PICTURE = "MEDIA_IS_PICTURE"
    """A still picture where a film is needed."""
    MEDIA_ENCRYPTED = "MEDIA_ENCRYPTED"
    """The film is encrypted."""
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    """The file has no moving picture."""
    NO_FRAMES = "NO_FRAMES"
    """The file has a video stream, but not one frame of it decodes."""
    AREA_OUTSIDE_FRAME = "AREA_OUTSIDE_FRAME"
    """No pixel of the given area lies in the picture."""
    NO_PICTURES = "NO_PICTURES"
    """The folder or archive holds no picture."""
    PICTURE_UNREADABLE = "PICTURE_UNREADABLE"
    """A picture is damaged, none, or larger than is read."""
    PICTURE_MISSING = "PICTURE_MISSING"
    """The manifest names a picture that is not there."""
    NO_TEXT = "NO_TEXT"
    """No picture shows any text."""
    MANIFEST_UNREADABLE = "MANIFEST_UNREADABLE"
    """The manifest is not one of stitched pictures, or does not fit them."""
    RESULTS_UNREADABLE = "RESULTS_UNREADABLE"
    """The file is not one of OCR results by frame."""
    LANGUAGE_UNAVAILABLE = "LANGUAGE_UNAVAILABLE"
    """No engine here reads the language; the message says what to install."""
    ENGINE_MISSING = "ENGINE_MISSING"
    """The packages of the engine are not in this environment; the message says how they come."""
    MODEL_MISSING = "MODEL_MISSING"
    """A model folder is not set, not there, or has not all its files; the message names the setting."""
    MODEL_UNSUITABLE = "MODEL_UNSUITABLE"
    """A model folder holds something else than what its setting is for, or cannot be loaded."""
    DEVICE_UNAVAILABLE = "DEVICE_UNAVAILABLE"
    """The engine finds no GPU where it is set to use one."""


class OcrFault(Fault[FaultCode]):
    """One thing that is wrong with a film, a picture or a request about them."""
