"""The true time of every picture that ffmpeg writes, told by ffmpeg itself frame by frame.

Counting frames and dividing by a rate drifts as soon as the rate varies; this never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

TICKS_PER_SECOND = 1_000_000

_KEY = "yivideo"


def with_times(stream: Any, file_name: str) -> Any:
    """Add filters that write each passing frame's timestamp to `file_name` in ffmpeg's working folder.

    The stream's time base becomes a microsecond.
    """
    stream = stream.filter("settb", f"1/{TICKS_PER_SECOND}")
    # metadata=print says nothing of a frame that carries no metadata: give it one.
    stream = stream.filter("metadata", mode="add", key=_KEY, value=1)
    return stream.filter("metadata", mode="print", key=_KEY, file=file_name)


def read_times(path: Path, shift_seconds: float) -> Iterator[float]:
    """Yield the written timestamps in order, in seconds, moved by `shift_seconds`."""
    if not path.exists():
        return
    with path.open() as lines:
        for line in lines:
            if line.startswith("frame:"):
                ticks = line.split("pts:", 1)[1].split(None, 1)[0]
                yield round(int(ticks) / TICKS_PER_SECOND + shift_seconds, 6)
