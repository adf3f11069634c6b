"""Pictures as files: one JPEG, WebP or PNG each, or one lossless video of their brightness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

_ENCODERS = {"jpg": "mjpeg", "webp": "libwebp", "png": "png"}
_STEP = Fraction(1, 25)
_FULL_RANGE = 2
LUMA_CLOCK = Fraction(1, 1_000_000)


class PictureFiles(Protocol):
    """Takes pictures one by one."""

    def write(self, picture: VideoFrame, seconds: float) -> None:
        """Keep the next picture, shown at that time."""


class Stills:
    """A file for each picture."""

    def __init__(self, folder: Path, names: str, output: str, quality: int) -> None:
        self._folder, self._names, self._output, self._quality = folder, names, output, quality
        self._encoder: VideoCodecContext | None = None
        self.count = 0

    def write(self, picture: VideoFrame, seconds: float) -> None:
        """Write the next file. Raises OSError."""
        if self._encoder is None:
            self._encoder = self._opened(picture)
        # The encoder's clock only has to run: a picture's time is kept elsewhere.
        picture.pts, picture.time_base = self.count, _STEP
        self.count += 1
        body = b"".join(bytes(packet) for packet in self._encoder.encode(picture))
        (self._folder / (self._names % self.count)).write_bytes(body)

    def _opened(self, picture: VideoFrame) -> VideoCodecContext:
        encoder = av.CodecContext.create(_ENCODERS[self._output], "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, picture.format.name
        encoder.time_base, encoder.framerate = _STEP, 1 / _STEP
        # More threads would hold pictures back.
        encoder.thread_count = 1
        match self._output:
            case "jpg":
                encoder.color_range = _FULL_RANGE
                encoder.qmin = encoder.qmax = self._quality
            case "webp":
                encoder.options = {"quality": str(100 - 3 * (self._quality - 1))}
            case _:
                pass
        return encoder


class LumaVideo:
    """One Matroska file with FFV1, every frame a key frame."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path), "w", format="matroska")
        self._stream: av.VideoStream | None = None

    def write(self, picture: VideoFrame, seconds: float) -> None:
        """Add the next frame."""
        if self._stream is None:
            self._stream = self._container.add_stream("ffv1", options={"level": "3", "g": "1"})
            self._stream.width, self._stream.height = picture.width, picture.height
            self._stream.pix_fmt = picture.format.name
            self._stream.time_base = self._stream.codec_context.time_base = LUMA_CLOCK
        picture.pts, picture.time_base = round(seconds / LUMA_CLOCK), LUMA_CLOCK
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Write what is left."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


@contextmanager
def picture_files(folder: Path, names: str, output: str, quality: int) -> Iterator[PictureFiles]:
    """Give what takes the pictures; after the block all of them are on disk."""
    if output != "luma":
        yield Stills(folder, names, output, quality)
        return
    video = LumaVideo(folder / names)
    try:
        yield video
    finally:
        video.close()
