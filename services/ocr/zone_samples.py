"""Pictures spread over a film, whole ones, in which its subtitles are looked for."""

from __future__ import annotations

from collections.abc import Iterator

from av.video.stream import VideoStream

from media.faults import MediaFault
from media.frames import FrameReader
from media.geometry import Region
from media.opening import opened
from media.packet_table import read_table
from services.ocr.decoding import THREADS, Cutter
from services.ocr.film import Film, Luma, of_media
from services.ocr.view import View

_PICTURES = 60
"""Looked at in a film; where it has so many key frames, no others are decoded."""


def sample_pictures(film: Film) -> Iterator[Luma]:
    """Yield whole pictures, evenly spread. Raises OcrFault."""
    try:
        yield from _sampled(film)
    except MediaFault as fault:
        raise of_media(fault) from None


def _sampled(film: Film) -> Iterator[Luma]:
    table = read_table(film.path, film.stream.index, breaks=film.has_free_clock)
    keys_only = len(table.keys) >= _PICTURES
    passing = len(table.keys if keys_only else table.ticks)
    step = max(1.0, passing / _PICTURES)
    cutter = Cutter(film, View((Region(0, 0, film.width, film.height),)))
    with opened(film.path) as container:
        stream = container.streams[film.stream.index]
        assert isinstance(stream, VideoStream)
        reader = FrameReader(container, stream, table, THREADS, keys_only=keys_only)
        wanted = step / 2
        for number, one in enumerate(reader.frames()):
            if number >= int(wanted):
                wanted += step
                yield cutter.cut(one.frame)
