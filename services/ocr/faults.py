"""What can be wrong with a film or a request about it, each with a stable code."""

from __future__ import annotations

from enum import StrEnum


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    MEDIA_UNREADABLE = "MEDIA_UNREADABLE"
    """No demuxer or decoder makes sense of the file, or it is empty."""
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    """The file has no moving picture."""
    NO_FRAMES = "NO_FRAMES"
    """The file has a video stream, but not one frame of it decodes."""
    AREA_OUTSIDE_FRAME = "AREA_OUTSIDE_FRAME"
    """No pixel of the given area lies in the picture."""


class OcrFault(Exception):
    """One thing that is wrong; `field` is the JSON pointer of the input field at fault."""

    def __init__(self, code: FaultCode, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field

    def __reduce__(self) -> tuple[type[OcrFault], tuple[FaultCode, str, str]]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return OcrFault, (self.code, self.message, self.field)
