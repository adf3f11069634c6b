"""What an engine hears before anybody is told apart: where there is speech, where two speak at once, and how each window sounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from services.diarize.voice_tree import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mask: TypeAlias = "NDArray[np.bool_]"

WINDOW_SECONDS = 1.5
HOP_SECONDS = 0.5
_JOIN_SECONDS = 0.25
_SHORTEST_SECONDS = 0.2
_CLEAR_SECONDS = 0.7
_MOST_OVERLAP = 0.1


@dataclass(frozen=True)
class SpeechFrames:
    """Speech over time, in frames of equal length."""

    step_seconds: float
    first_seconds: float
    """When the first frame begins."""
    speech: Mask
    """Whether anybody speaks, for each frame."""
    overlap: Mask
    """Whether at least two speak at once."""

    def index(self, seconds: float) -> int:
        """Return the frame of an instant; one outside gives the nearest."""
        place = int((seconds - self.first_seconds) / self.step_seconds)
        return min(max(place, 0), max(len(self.speech) - 1, 0))

    def spans(self, mask: Mask) -> Iterator[tuple[float, float]]:
        """Yield start and end in seconds of each run of frames that are set."""
        steps = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
        for first, last in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            start = max(self.first_seconds + first * self.step_seconds, 0.0) if first else 0.0
            yield float(start), float(self.first_seconds + last * self.step_seconds)


@dataclass(frozen=True)
class Heard:
    """All that an engine hears of a recording."""

    frames: SpeechFrames
    windows: NDArray[np.float64]
    """Start and end of each window of speech in seconds, shape (n, 2)."""
    voices: Vectors
    """The unit vector of each window, shape (n, dimensions)."""

    def clear_voices(self) -> Vectors:
        """Return the vectors of the windows by which speakers can be found: long enough, and nearly all of one voice.

        A mixture of two voices is like a third person. Where no two windows are clear, all are returned.
        """
        overlapped = np.concatenate([[0], np.cumsum(self.frames.overlap)])
        clear = np.zeros(len(self.windows), bool)
        for number, (start, end) in enumerate(self.windows):
            first, last = self.frames.index(start), self.frames.index(end) + 1
            share = (overlapped[last] - overlapped[first]) / (last - first)
            clear[number] = share <= _MOST_OVERLAP and end - start >= _CLEAR_SECONDS
        return self.voices[clear] if clear.sum() >= 2 else self.voices


def speech_windows(frames: SpeechFrames) -> list[tuple[float, float]]:
    """Return the windows by which voices are told apart: 1.5 s every 0.5 s of speech; a shorter stretch is one window."""
    stretches: list[tuple[float, float]] = []
    for start, end in frames.spans(frames.speech):
        if stretches and start - stretches[-1][1] < _JOIN_SECONDS:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    windows: list[tuple[float, float]] = []
    for start, end in stretches:
        if end - start < _SHORTEST_SECONDS:
            continue
        if end - start <= WINDOW_SECONDS:
            windows.append((start, end))
            continue
        starts = np.arange(start, end - WINDOW_SECONDS, HOP_SECONDS)
        windows += [(float(one), float(one) + WINDOW_SECONDS) for one in starts]
        windows.append((end - WINDOW_SECONDS, end))
    return windows
