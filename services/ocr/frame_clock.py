"""When each frame of a film is shown, by its number from 1: the packets' own times, and the rate where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from media.faults import MediaFault
from media.packet_table import read_table
from services.ocr.film import of_media, probe
from services.ocr.frame_texts import FALLBACK_RATE


def frame_clock(video: Path) -> Callable[[int], float]:
    """Return the function that tells a frame's time. Raises OcrFault when the film cannot be read."""
    film = probe(video)
    try:
        table = read_table(film.path, film.stream.index, breaks=film.has_free_clock)
    except MediaFault as fault:
        raise of_media(fault) from None
    rate = float(film.stream.frame_rate or FALLBACK_RATE)
    times = [float(tick * table.time_base) - film.origin_seconds for tick in table.ticks]
    end = float(table.end_tick * table.time_base) - film.origin_seconds

    def time_of(number: int) -> float:
        if 1 <= number <= len(times):
            return times[number - 1]
        if number <= 0:
            return max(0.0, (times[0] if times else 0.0) + (number - 1) / rate)
        return end + (number - 1 - len(times)) / rate

    return time_of
