"""Where a recording is silent: stretches of sound between silences, and the quietest place to cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from media.pcm import FULL_SCALE, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_SECONDS = 0.01
_BLOCK_WINDOWS = 6_000


@dataclass(frozen=True)
class SilenceRule:
    """What counts as silence."""

    threshold: float = 0.04
    """Share of full scale, 0 to 1, that the loudest sample of 10 ms must stay under."""
    min_silence_seconds: float = 0.5
    """Shorter pauses belong to the sound around them."""
    margin_seconds: float = 0.2
    """How much of the silence on each side stays with the sound."""


class SoundProfile:
    """The peak of every 10 ms of a recording; samples have the shape (frames, channels)."""

    def __init__(self, samples: Samples, sample_rate: int) -> None:
        self.window = max(1, round(sample_rate * WINDOW_SECONDS))
        self._rate = sample_rate
        self.duration_seconds = len(samples) / sample_rate
        self._peaks = _peaks(samples, self.window)

    def sounding(self, rule: SilenceRule) -> list[tuple[float, float]]:
        """Return the stretches of sound as (start, end) in seconds, margins included, none overlapping."""
        loud = np.flatnonzero(self._peaks >= rule.threshold * FULL_SCALE)
        if not loud.size:
            return []
        pause = round(rule.min_silence_seconds / WINDOW_SECONDS)
        breaks = np.flatnonzero(np.diff(loud) > max(1, pause))
        firsts = loud[np.concatenate(([0], breaks + 1))]
        lasts = loud[np.concatenate((breaks, [loud.size - 1]))] + 1
        spans: list[tuple[float, float]] = []
        for first, last in zip(firsts, lasts, strict=True):
            start = max(0.0, self._time(first) - rule.margin_seconds)
            end = min(self.duration_seconds, self._time(last) + rule.margin_seconds)
            if spans and start < spans[-1][1]:
                # Two margins that meet share the pause between them.
                middle = (start + spans[-1][1]) / 2
                spans[-1], start = (spans[-1][0], middle), middle
            spans.append((start, end))
        return spans

    def quietest(self, start: float, end: float) -> float:
        """Return the middle of the quietest 10 ms between two times, the one nearest to the end among equals."""
        first = int(start * self._rate / self.window)
        last = max(first + 1, int(end * self._rate / self.window))
        part = self._peaks[first:last]
        if not part.size:
            return end
        turned = int(np.argmin(part[::-1]))
        return self._time(first + part.size - 1 - turned + 0.5)

    def _time(self, window: Any) -> float:
        return float(window) * self.window / self._rate


def _peaks(samples: Samples, window: int) -> NDArray[np.int32]:
    """Return the greatest height per window, a block at a time, so that a film's samples may stay on disk."""
    found: list[NDArray[np.int32]] = []
    for first in range(0, len(samples), window * _BLOCK_WINDOWS):
        block = np.abs(samples[first : first + window * _BLOCK_WINDOWS].astype(np.int32)).max(axis=1)
        whole = len(block) // window * window
        found.append(block[:whole].reshape(-1, window).max(axis=1))
        if whole < len(block):
            found.append(block[whole:].max(keepdims=True))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int32)
