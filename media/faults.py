"""What can be wrong with a piece of media or with a request about it, each with a stable code.

The engine modules raise `MediaFault` and know nothing of tasks; `node.py` turns it into the task's failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class FaultCode(StrEnum):
    """The codes that a client may rely on; they never change their meaning."""

    MEDIA_EMPTY = "MEDIA_EMPTY"
    """The file has no bytes."""
    MEDIA_UNREADABLE = "MEDIA_UNREADABLE"
    """No demuxer or decoder makes sense of the file: damaged, cut off, or not media at all."""
    MEDIA_FORMAT_REFUSED = "MEDIA_FORMAT_REFUSED"
    """A playlist, script or device format that could make ffmpeg read other files or the network."""
    MEDIA_IS_PICTURE = "MEDIA_IS_PICTURE"
    """A still picture, by its content or its name, where a film or a sound is needed."""
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    """The media has no moving picture (a cover picture does not count)."""
    NO_AUDIO_STREAM = "NO_AUDIO_STREAM"
    """The media has no sound."""
    STREAM_NOT_FOUND = "STREAM_NOT_FOUND"
    """The stream that the request names does not exist or is of another kind."""
    MEDIA_ENCRYPTED = "MEDIA_ENCRYPTED"
    """The stream is encrypted, and nobody has given a key."""
    CODEC_UNSUPPORTED = "CODEC_UNSUPPORTED"
    """No decoder here reads the stream."""
    RANGE_OUTSIDE_MEDIA = "RANGE_OUTSIDE_MEDIA"
    """The asked span of time, or every asked instant, lies outside the media."""
    AREA_OUTSIDE_FRAME = "AREA_OUTSIDE_FRAME"
    """The area is empty or lies outside the picture."""
    NO_FRAMES = "NO_FRAMES"
    """Decoding worked, and not one picture came out."""
    NO_SEGMENTS = "NO_SEGMENTS"
    """Splitting left not one segment."""
    SUBTITLE_UNREADABLE = "SUBTITLE_UNREADABLE"
    """The subtitle file is in no form that is known here."""
    SUBTITLE_EMPTY = "SUBTITLE_EMPTY"
    """The subtitle file is readable and has no cue."""
    OUTPUT_EMPTY = "OUTPUT_EMPTY"
    """ffmpeg said that all is well and wrote nothing."""
    DISK_FULL = "DISK_FULL"
    """The machine's scratch disk is full; another replica may have room."""
    FFMPEG_FAILED = "FFMPEG_FAILED"
    """ffmpeg ended with an error that none of the codes above describes."""


class MediaFault(Exception):
    """One thing that is wrong; `str(fault)` is English text for the one who sent the task.

    `source` says which input of an engine with several it is about, in the engine's own word; empty: of the only one, or of none.
    """

    def __init__(self, code: FaultCode, message: str, source: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.source = source

    def __reduce__(self) -> tuple[type[MediaFault], tuple[FaultCode, str, str]]:
        # A worker process sends its exceptions by pickle, which would call the class with the message alone.
        return MediaFault, (self.code, self.message, self.source)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed on another machine."""
        return self.code is FaultCode.DISK_FULL


@contextmanager
def faults_of(source: str) -> Iterator[None]:
    """Say of each fault in a block which input it is about."""
    try:
        yield
    except MediaFault as fault:
        fault.source = fault.source or source
        raise
