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

_LEAST_PICTURES, _MOST_PICTURES = 12, 60
"""Looked at in a film; where it has so many key frames, no others are decoded."""
_SPACING_SECONDS = 0.75
"""Between two pictures of a short film: in less, subtitles hardly change, and looking would take longer than reading."""


def sample_pictures(film: Film) -> Iterator[Luma]:
    """Yield whole pictures, evenly spread. Raises OcrFault."""
    try:
        yield from _sampled(film)
    except MediaFault as fault:
        raise of_media(fault) from None


def _sampled(film: Film) -> Iterator[Luma]:
    table = read_table(film.path, film.stream.index, breaks=film.has_free_clock)
    count = _count(film.duration_seconds)
    keys_only = len(table.keys) >= count
    passing = len(table.keys if keys_only else table.ticks)
    step = max(1.0, passing / count)
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


def _count(seconds: float) -> int:
    """Return how many pictures a film is asked for; a length of 0 is not known."""
    wanted = round(seconds / _SPACING_SECONDS) if seconds else _MOST_PICTURES
    return min(_MOST_PICTURES, max(_LEAST_PICTURES, wanted))
