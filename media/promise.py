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
_FILE_MISSING_SECONDS = 1.0
_STANDS_STILL = 0.05
"""Of a film with an index, which counts how long its last frame stands, that frame's part."""


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
    if facts.has_index:
        return _of_track(facts, stream, track, held_seconds)
    promised = facts.duration_seconds if facts.has_length else None
    if promised is None or ends >= promised - _MOST_MISSING_SECONDS[track]:
        return ()
    held_seconds = await last_packet_end(runner, path)
    if held_seconds >= promised - _FILE_MISSING_SECONDS:
        return ()
    return (_line(facts, promised, "", held_seconds),)


def _of_track(
    facts: MediaFacts, stream: VideoStream | AudioStream, track: str, held_seconds: float
) -> tuple[str, ...]:
    promised = stream.duration_seconds
    slack = _MOST_MISSING_SECONDS[track]
    if promised is None or held_seconds >= promised - slack:
        return ()
    if track == "pictures" and held_seconds >= promised * (1 - _STANDS_STILL):
        return ()
    return (_line(facts, promised, f" of {track}", held_seconds),)


def _line(facts: MediaFacts, promised: float, of: str, held: float) -> str:
    return f"{facts.name} promises {promised:.3f} s{of} and holds {held:.3f} s: it is cut off or damaged"
