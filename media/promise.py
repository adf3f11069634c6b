"""What a file's headers promise of a track's length, against what it holds: how a film that was cut off on its way is noticed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from media.packets import last_packet_end
from media.probe import AudioStream, MediaFacts, VideoStream
from media.process import Runner
from media.promised_bytes import bytes_of

_MOST_MISSING_SECONDS = {"sound": 0.5, "pictures": 1.0}
"""More than containers round by."""
_STANDS_STILL = 0.05
"""Of a film, how long its last frame may rightly stand."""


async def cut_off(
    runner: Runner,
    path: Path,
    facts: MediaFacts,
    stream: VideoStream | AudioStream,
    held_seconds: float,
    begins_seconds: float = 0.0,
) -> tuple[str, ...]:
    """Return the line for people when a track of which `held_seconds` are there ends well before the headers promise; else nothing.

    `begins_seconds` is when it begins on the film's clock, where what is held does not begin with the film. Lengths that are
    only reckoned from the bytes that are there promise nothing, but some headers say how many there were (`promised_bytes`). One
    that speaks of the whole file, as Matroska's does, is held against all its packets once this track falls short: the others may
    rightly go on alone. That reads the file to its end; most never come to it.

    Raises:
        MediaFault, OSError: the file cannot be read any more.
    """
    track = "sound" if isinstance(stream, AudioStream) else "pictures"
    ends = begins_seconds + held_seconds
    size = await asyncio.to_thread(bytes_of, path)
    if size.missing_seconds(ends) > _MOST_MISSING_SECONDS[track]:
        return (f"{facts.name} promises {size.written} bytes and has {size.there}: it is cut off or damaged",)
    promised, is_the_tracks = _promised(facts, stream)
    slack = _MOST_MISSING_SECONDS[track]
    if track == "pictures" or (facts.videos and not is_the_tracks):
        slack = max(1.0, (promised or 0.0) * _STANDS_STILL)

    def falls_short(seconds: float) -> bool:
        return promised is not None and seconds < promised - slack

    if not falls_short(held_seconds if is_the_tracks else ends):
        return ()
    of = f" of {track}"
    if not is_the_tracks:
        of, held_seconds = "", await last_packet_end(runner, path)
        if not falls_short(held_seconds):
            return ()
    return (
        f"{facts.name} promises {promised:.3f} s{of} and holds {held_seconds:.3f} s: it is cut off or damaged",
    )


def _promised(facts: MediaFacts, stream: VideoStream | AudioStream) -> tuple[float | None, bool]:
    """Return how long the headers say it is, None where they only estimate, and whether they speak of this track alone."""
    if facts.has_index:
        return stream.duration_seconds, True
    alone = len(facts.videos) + len(facts.audios) == 1
    return facts.duration_seconds if facts.has_length else None, alone
