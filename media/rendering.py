"""How a decoded frame becomes the picture that a viewer sees: upright, whole, in its size, in the colours that were meant.

Each frame is judged by itself: a film whose size, format or colours change midway gives pictures of one size and one kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from media.frames import TimedFrame
from media.look import Look, Pixels

_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_MATRIX = struct.Struct("=9i")
_RGB_LIKE = ("rgb", "bgr", "gbr", "pal8", "0rgb", "argb", "abgr", "0bgr", "mono", "x2rgb", "x2bgr", "xyz")


class Renderer:
    """Turns frames of one film into pictures."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._kind: tuple[object, ...] = ()
        self._graph: Graph | None = None
        self._format = ""
        self.tone_mapped = False
        """Whether a picture of high dynamic range was brought into that of ordinary screens."""

    def render(self, frame: VideoFrame) -> VideoFrame:
        """Return the picture."""
        turn = _turning(frame) if self._look.upright else ()
        kind = (*_signal(frame), turn)
        if self._graph is None or kind != self._kind:
            self._graph, self._kind = self._built(frame, turn), kind
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _built(self, frame: VideoFrame, turn: tuple[tuple[str, str], ...]) -> Graph:
        look, name = self._look, frame.format.name
        steps: list[tuple[str, str]] = []
        if (frame.width, frame.height) != (look.coded.width, look.coded.height):
            steps += [("scale", f"{look.coded.width}:{look.coded.height}"), ("format", name)]
        steps += turn
        crop = look.crop
        cut = ("crop", f"{crop.width}:{crop.height}:{crop.x}:{crop.y}:exact=1")
        if look.pixels is Pixels.LUMA:
            steps += [*_luma(name), cut, ("scale", f"{look.size.width}:{look.size.height}")]
            self._format = self._format or ("gray" if frame.format.components[0].bits <= 8 else "gray10le")
            steps.append(("format", self._format))
        else:
            steps += [cut, *self._coloured(frame)]
        return _graph(frame, steps)

    def _coloured(self, frame: VideoFrame) -> list[tuple[str, str]]:
        look = self._look
        size = f"{look.size.width}:{look.size.height}"
        self._format = self._format or _still_format(look.pixels, frame)
        colours = {
            Pixels.JPEG: "out_color_matrix=bt601:out_range=pc",
            Pixels.VIDEO: "out_color_matrix=bt601:out_range=tv",
        }.get(look.pixels, "out_range=pc")
        if frame.color_trc in _HDR:
            self.tone_mapped = True
            colours += ":out_primaries=bt709:out_transfer=bt709"
        return [("scale", f"{size}:{colours}"), ("format", self._format)]


def deinterlaced(frames: Iterable[TimedFrame], time_base: Fraction) -> Iterator[TimedFrame]:
    """Yield whole pictures: frames that hold two half pictures are made one, the others pass as they are."""
    graph: Graph | None = None
    kind: tuple[object, ...] = ()
    for one in frames:
        if graph is None and not one.frame.interlaced_frame:
            yield one
            continue
        signal = _signal(one.frame)
        if graph is None or signal != kind:
            yield from _pulled(graph, None, time_base)
            graph, kind = _graph(one.frame, [("yadif", "deint=interlaced")], time_base), signal
        one.frame.pts, one.frame.time_base = one.tick, time_base
        yield from _pulled(graph, one.frame, time_base)
    yield from _pulled(graph, None, time_base)


def _pulled(graph: Graph | None, frame: VideoFrame | None, time_base: Fraction) -> Iterator[TimedFrame]:
    if graph is None:
        return
    graph.vpush(frame)
    while True:
        try:
            ready = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert ready.pts is not None and ready.time_base is not None
        yield TimedFrame(round(ready.pts * ready.time_base / time_base), ready)


def _signal(frame: VideoFrame) -> tuple[object, ...]:
    """Return all that a graph is made for."""
    colours = (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries)
    return (frame.width, frame.height, frame.format.name, *colours)


def _graph(
    frame: VideoFrame, steps: Iterable[tuple[str, str]], time_base: Fraction = Fraction(1, 25)
) -> Graph:
    graph = Graph()
    source = (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={time_base}"
        f":colorspace={frame.colorspace}:range={frame.color_range}"
    )
    parts = [("buffer", source), *steps, ("buffersink", None)]
    graph.link_nodes(*(graph.add(name, arguments) for name, arguments in parts)).configure()
    return graph


def _turning(frame: VideoFrame) -> tuple[tuple[str, str], ...]:
    """Return the filters that turn a frame upright, as players read its display matrix."""
    sides: Any = frame.side_data
    side = next((one for one in sides if one.type is SideDataType.DISPLAYMATRIX), None)
    if side is None:
        return ()
    matrix = _MATRIX.unpack(bytes(side)[: _MATRIX.size])
    turned = round(-frame.rotation) % 360
    match turned:
        case 90:
            return (("transpose", "cclock_flip" if matrix[3] > 0 else "clock"),)
        case 180:
            return (
                *((("hflip", ""),) if matrix[0] < 0 else ()),
                *((("vflip", ""),) if matrix[4] < 0 else ()),
            )
        case 270:
            return (("transpose", "clock_flip" if matrix[3] < 0 else "cclock"),)
        case _:
            return (("vflip", ""),) if matrix[4] < 0 else ()


def _luma(name: str) -> list[tuple[str, str]]:
    if name.startswith(_RGB_LIKE):
        return [("scale", "out_color_matrix=bt601:out_range=pc"), ("format", "gray")]
    if name.startswith(("yuv", "gray", "ya")):
        return [("extractplanes", "y")]
    return [("format", "yuv420p10le" if name.startswith("p0") else "yuv420p"), ("extractplanes", "y")]


def _still_format(pixels: Pixels, frame: VideoFrame) -> str:
    if pixels is Pixels.RGB:
        return "rgb24"
    if pixels is Pixels.VIDEO:
        return "yuv420p"
    if frame.format.is_rgb:
        return "yuvj444p"
    chroma = frame.format.components[1] if len(frame.format.components) > 1 else None
    if chroma is None or chroma.height < frame.height:
        return "yuvj420p"
    return "yuvj422p" if chroma.width < frame.width else "yuvj444p"
