"""A film decoded by libav in this process: the strip of each frame, with its true time, and no file or pipe between.

Frames whose brightness lies as the strip wants it are cut out as they are; whatever else films bring (a turned picture, pixels
that are not square, a size that changes, ten bits, RGB) goes through the same renderer as key frames do. Breaks of the clock and
formats without times are bridged by the packet table. A thread decodes ahead, so that a call of the engine and the decoder overlap.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from queue import Empty, Full, Queue

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.faults import MediaFault
from media.frames import FrameReader
from media.geometry import Size
from media.look import Look, Pixels
from media.opening import opened
from media.packet_table import PacketTable, read_table
from media.rendering import Renderer, deinterlaced
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Film, Frame, Luma, of_media
from services.ocr.view import View

_PLANAR = frozenset(
    (
        "yuv420p",
        "yuvj420p",
        "yuv422p",
        "yuvj422p",
        "yuv444p",
        "yuvj444p",
        "yuv440p",
        "yuv411p",
        "nv12",
        "nv21",
        "gray",
    )
)
"""Formats whose first plane is the brightness, a byte a pixel."""
_CHUNK = 8
"""Frames that change threads at once."""
_AHEAD_BYTES = 24 * 1024 * 1024
"""What may be decoded ahead."""
_SEEK_PAYS_SECONDS = 2.0
THREADS = 3
"""Of the decoder: one more than the cores that the bench has, since the strips are cut out beside it."""


def frames(film: Film, view: View, start_seconds: float = 0.0) -> Iterator[Frame]:
    """Yield the strip of each frame in order, from the first one at or after `start_seconds`.

    Raises OcrFault (NO_FRAMES, MEDIA_UNREADABLE) when nothing can be decoded; a film that breaks later ends there.
    """
    count = 0
    try:
        for frame in _decoded(film, view, start_seconds):
            count += 1
            yield frame
    except MediaFault as fault:
        raise of_media(fault) from None
    if count == 0 and start_seconds == 0:
        raise OcrFault(FaultCode.NO_FRAMES, f"no frame of {film.path.name} could be decoded", "/video_path")


def frames_ahead(film: Film, view: View, start_seconds: float = 0.0) -> Iterator[Frame]:
    """Yield the same, decoded by another thread that is some frames ahead."""
    size = view.size
    room = max(2, _AHEAD_BYTES // (size.width * size.height * _CHUNK))
    queue: Queue[list[Frame] | BaseException | None] = Queue(maxsize=room)
    stopped = threading.Event()

    def put(item: list[Frame] | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                queue.put(item, timeout=0.2)
            except Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            chunk: list[Frame] = []
            for frame in frames(film, view, start_seconds):
                chunk.append(frame)
                if len(chunk) == _CHUNK:
                    if not put(chunk):
                        return
                    chunk = []
            put(chunk)
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=produce, name="decoder", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from item
    finally:
        stopped.set()
        while thread.is_alive():
            try:
                queue.get_nowait()
            except Empty:
                thread.join(0.05)


def _decoded(film: Film, view: View, start_seconds: float) -> Iterator[Frame]:
    table = read_table(film.path, film.stream.index, breaks=film.has_free_clock)
    if not table.ticks:
        return
    first = Fraction(start_seconds + film.origin_seconds).limit_denominator(1_000_000) / table.time_base
    wanted = int(first) if start_seconds else table.ticks[0]
    for seeking in (True, False):
        with opened(film.path) as container:
            stream = container.streams[film.stream.index]
            assert isinstance(stream, VideoStream)
            sought = _seek(container, stream, film, table, wanted) if seeking else None
            reader, cutter = FrameReader(container, stream, table, THREADS), Cutter(film, view)
            for one in deinterlaced(reader.frames(), table.time_base):
                if sought is not None and one.tick > sought and one.tick > wanted:
                    break  # The seek has gone too far: this format cannot do it.
                sought = None
                if one.tick >= wanted:
                    yield Frame(_seconds(one.tick, table, film), cutter.cut(one.frame))
            else:
                return


def _seconds(tick: int, table: PacketTable, film: Film) -> float:
    return round(float(tick * table.time_base) - film.origin_seconds, 6)


def _seek(
    container: av.container.InputContainer, stream: VideoStream, film: Film, table: PacketTable, wanted: int
) -> int | None:
    """Go to the key frame before a tick where that is safe and pays; returns its tick, None: nothing was sought."""
    place = bisect_right(table.keys, wanted)
    if film.has_free_clock or not table.has_times or not place:
        return None
    key = table.keys[place - 1]
    if (key - table.ticks[0]) * table.time_base < _SEEK_PAYS_SECONDS:
        return None
    try:
        container.seek(key, stream=stream)
    except av.error.FFmpegError:
        container.seek(table.ticks[0], stream=stream)
        return None
    return key


class Cutter:
    """Takes the strip of a view out of decoded frames."""

    def __init__(self, film: Film, view: View) -> None:
        picture, self._view = film.picture, view
        self._coded = Size(film.stream.width, film.stream.height)
        region = view.region
        self._corner = (region.x, region.y)
        self._plain = picture.coded == self._coded == picture.display and not film.stream.rotation
        self._renderer = Renderer(
            Look(
                coded=self._coded,
                crop=picture.to_coded(region),
                size=Size(region.width, region.height),
                pixels=Pixels.LUMA,
            )
        )

    def cut(self, frame: VideoFrame) -> Luma:
        """Return the strip of a frame."""
        size = self._coded
        plain = self._plain and frame.width == size.width and frame.height == size.height
        if plain and frame.format.name in _PLANAR and not frame.rotation:
            return self._view.strip(_plane(frame))
        return self._view.strip(_plane(self._renderer.render(frame)), self._corner)


def _plane(frame: VideoFrame) -> Luma:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    if frame.format.name == "gray10le":
        deep = rows.view(np.uint16)[: frame.height, : frame.width]
        return np.asarray(deep >> 2, np.uint8)
    return np.asarray(rows[: frame.height, : frame.width])
